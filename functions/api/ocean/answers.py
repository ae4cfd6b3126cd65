"""Status objects: the keys, their order and the types that Ocean's clients know."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypedDict

from functions.store.ports import Store
from functions.workflow import codes
from functions.workflow.asset_ids import asset_ids
from functions.workflow.endings import told_ending, told_time
from functions.workflow.model import Phase, Record, ResultFile, Workflow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class File(TypedDict):
    """One published file; its position in the list is the `index` of getResult."""

    filename: str
    filesize: int
    type: str


class Termination(TypedDict):
    OOMKilled: bool
    exitCode: int | None


class _Head(TypedDict):
    agreementId: str
    jobId: str
    owner: str
    status: int
    statusText: str
    dateCreated: str


class _Assets(TypedDict):
    algoDID: str | None
    inputDID: list[str]


class Waiting(TypedDict):
    """The reason why the container of a stage does not run yet, and the time since when."""

    reason: str
    since: str


class _Optional(TypedDict, total=False):
    reason: str
    terminationDetails: Termination
    waiting: Waiting | None
    queuePosition: int
    warnings: list[str]
    head: str


class Status(_Head, _Assets, _Optional):
    """The status object of a job. Times are seconds since 1970, as strings.

    `reason` and `terminationDetails` are present only if the job ends abnormally, `waiting` while a stage waits for its
    container or a quota, `queuePosition` (from 1) while the job is one of the first 1000 that wait for a slot of its
    environment.
    `warnings`, if there are any, name outputs that were not published, or that have another name. `head` is the digest
    of the job's last history line: keep it, and no line before it can be changed unseen (docs/trust.md).
    """

    dateFinished: str | None
    results: list[File] | str
    stopreq: int
    removed: int


class Running(_Head, _Assets):
    """One unfinished job."""

    namespace: str


# Bytes of documents and file lists that an answer holds in memory at once.
PAGE_BYTES = 1 << 20


# The most positions of a queue that an answer reads.
_POSITIONS = 1000


def statuses(records: Iterable[Record], store: Store) -> list[Status]:
    """Return the status objects of jobs, with the places of those that are queued."""
    found = list(records)
    queues = {record.workflow.environment for record in found if record.workflow.phase is Phase.QUEUED}
    positions = {id: n for queue in queues for n, id in enumerate(store.queue(queue, _POSITIONS), 1)}
    return [status(record, positions.get(record.workflow.id)) for record in found]


def status(record: Record, position: int | None = None) -> Status:
    """Return the status object of a job. `position`: its place in the queue, if it is known."""
    workflow = record.workflow
    return {
        **_head(record),
        "dateFinished": told_end(workflow),
        "results": _results(record),
        "stopreq": int(workflow.stop),
        "removed": int(workflow.removed),
        **_assets(record),
        **_optional(record, position),
    }


def running(record: Record) -> Running:
    """Return one entry of /runningjobs."""
    return {**_head(record), "namespace": record.workflow.environment, **_assets(record)}


def epoch(at: datetime) -> str:
    """Format a time as seconds since 1970 with exactly six decimals; a float would lose a microsecond."""
    seconds, micro = divmod((at - _EPOCH) // timedelta(microseconds=1), 10**6)
    return f"{seconds}.{micro:06d}"


def told_end(workflow: Workflow) -> str | None:
    """Return when a job ended, as its owner is told it: never before the submission."""
    if workflow.finished_at is None:
        return None
    return epoch(max(told_time(workflow, workflow.finished_at), workflow.created_at))


def files(published: Iterable[ResultFile]) -> list[File]:
    """List files without their internal URLs."""
    return [{"filename": file.filename, "filesize": file.size, "type": file.type} for file in published]


def _head(record: Record) -> _Head:
    workflow = record.workflow
    return {
        "agreementId": record.submission.agreement_id,
        "jobId": workflow.id,
        "owner": record.submission.owner,
        "status": workflow.status,
        "statusText": codes.text(workflow.status),
        "dateCreated": epoch(workflow.created_at),
    }


def _assets(record: Record) -> _Assets:
    algorithm, inputs = asset_ids(record.submission.document, unnamed="raw")
    return {"algoDID": algorithm, "inputDID": inputs}


def waiting(workflow: Workflow) -> Waiting | None:
    """Return what the running stage waits for."""
    found = workflow.waiting
    return {"reason": found.reason, "since": epoch(found.since)} if found else None


def _optional(record: Record, position: int | None) -> _Optional:
    workflow, ending = record.workflow, told_ending(record.workflow)
    optional: _Optional = {}
    if ending is not None:
        optional["reason"] = ending.reason
        optional["terminationDetails"] = {"OOMKilled": ending.oom_killed, "exitCode": ending.exit_code}
    if workflow.waiting is not None:
        optional["waiting"] = waiting(workflow)
    if position is not None:
        optional["queuePosition"] = position
    if record.manifest.warnings and not _gone(workflow):
        optional["warnings"] = list(record.manifest.warnings)
    if workflow.head:
        optional["head"] = workflow.head
    return optional


def _results(record: Record) -> list[File] | str:
    return "" if _gone(record.workflow) else files(record.manifest.files) or ""


def _gone(workflow: Workflow) -> bool:
    return workflow.removed or workflow.expired
