"""Status objects: the keys, their order and the types that Ocean's clients know."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypedDict

from functions.workflow import codes
from functions.workflow.document import asset_ids
from functions.workflow.model import Ending, Record, ResultFile

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


class _Ending(TypedDict, total=False):
    reason: str
    terminationDetails: Termination


class _Warnings(TypedDict, total=False):
    warnings: list[str]


class Status(_Head, _Assets, _Ending, _Warnings):
    """The status object of a job. Times are seconds since 1970, as strings.

    `reason` and `terminationDetails` are present only if the job ends abnormally. `warnings`, if there are any, name
    outputs that were not published, or that have another name.
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


def statuses(records: Iterable[Record]) -> list[Status]:
    return [status(record) for record in records]


def status(record: Record) -> Status:
    """Return the status object of a job."""
    workflow = record.workflow
    return {
        **_head(record),
        "dateFinished": epoch(workflow.finished_at) if workflow.finished_at else None,
        "results": _results(record),
        "stopreq": int(workflow.stop),
        "removed": int(workflow.removed),
        **_assets(record),
        **_ending(workflow.ending),
        **_warnings(record),
    }


def running(record: Record) -> Running:
    """Return one entry of /runningjobs."""
    return {**_head(record), "namespace": record.workflow.environment, **_assets(record)}


def epoch(at: datetime) -> str:
    """Format a time as seconds since 1970 with exactly six decimals; a float would lose a microsecond."""
    seconds, micro = divmod((at - _EPOCH) // timedelta(microseconds=1), 10**6)
    return f"{seconds}.{micro:06d}"


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


def _ending(ending: Ending | None) -> _Ending:
    if ending is None:
        return {}
    details: Termination = {"OOMKilled": ending.oom_killed, "exitCode": ending.exit_code}
    return {"reason": ending.reason, "terminationDetails": details}


def _warnings(record: Record) -> _Warnings:
    gone = record.workflow.removed or record.workflow.expired
    return {"warnings": list(record.manifest.warnings)} if record.manifest.warnings and not gone else {}


def _results(record: Record) -> list[File] | str:
    gone = record.workflow.removed or record.workflow.expired
    return "" if gone else files(record.manifest.files) or ""
