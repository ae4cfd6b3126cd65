"""operator-service's forms, which submit and status share: what a request must hold, filters, status objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NotRequired, TypedDict

from functions.api.auth.message import message
from functions.api.http import HttpError
from functions.store.ports import Query
from functions.workflow import codes
from functions.workflow.model import Record, ResultFile

PAGE = 1000  # the most that one answer lists
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_OFFSET = 10**9


def require(params: Mapping[str, Any], names: Sequence[str], route: str) -> None:
    """Raises HttpError for the first of `names` that is missing, in operator-service's words."""
    if not params:
        raise HttpError(400, "payload seems empty.")
    for name in names:
        if name not in params:
            raise HttpError(400, f'"{name}" is required in the call to {route}')


def given(params: Mapping[str, Any], name: str) -> str | None:
    """A filter's value; None where it is missing or too short to count (operator-service: below 2 characters)."""
    value = params.get(name)
    text = "" if value is None else str(value)
    return text if len(text) >= 2 else None


def signed_message(params: Mapping[str, Any]) -> str:
    """What the provider of this request signs, before the nonce."""
    return message(params.get("owner"), given(params, "jobId"))


def chain(params: Mapping[str, Any]) -> str | None:
    """The chain asked for, in either spelling."""
    value = params.get("chainId", params.get("chain_id"))
    return None if value in (None, "") else str(value)


def query(params: Mapping[str, Any], *, unfinished: bool = False) -> Query:
    """The filters of a request; all that are given must hold. Raises HttpError."""
    return Query(
        agreement_id=given(params, "agreementId"),
        workflow=given(params, "jobId"),
        owner=given(params, "owner"),
        chain_id=chain(params),
        unfinished=unfinished,
        limit=min(_count(params, "limit", PAGE), PAGE),
        offset=_count(params, "offset", 0),
    )


def _count(params: Mapping[str, Any], name: str, default: int) -> int:
    text = str(params.get(name, default))
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > _LONGEST_OFFSET:
        raise HttpError(400, f"`{name}` must be a whole number from 0 to {_LONGEST_OFFSET}")
    return int(text)


# --- status objects: keys, their order and their types as clients know them ------------------


class File(TypedDict):
    """One published file; its place in the list is the `index` of getResult."""

    filename: str
    filesize: int
    type: str


class Termination(TypedDict):
    OOMKilled: bool
    exitCode: int | None


class Status(TypedDict):
    """The status object of a job. Times are seconds since 1970, as strings."""

    agreementId: str
    jobId: str
    owner: str
    status: int
    statusText: str
    dateCreated: str
    dateFinished: str | None
    results: list[File] | str
    stopreq: int
    removed: int
    algoDID: str | None
    inputDID: list[str]
    reason: NotRequired[str]
    terminationDetails: NotRequired[Termination]


class Running(TypedDict):
    """One unfinished job."""

    agreementId: str
    jobId: str
    owner: str
    status: int
    statusText: str
    dateCreated: str
    namespace: str
    algoDID: str | None
    inputDID: list[str]


def statuses(records: Iterable[Record]) -> list[Status]:
    return [status(record) for record in records]


def status(record: Record) -> Status:
    """The status object of a job. `reason` and `terminationDetails`: only where it is known to end abnormally."""
    workflow = record.workflow
    algorithm, inputs = _dids(record.submission.document)
    view: Status = {
        "agreementId": record.submission.agreement_id,
        "jobId": workflow.id,
        "owner": record.submission.owner,
        "status": workflow.status,
        "statusText": codes.text(workflow.status),
        "dateCreated": epoch(workflow.created_at),
        "dateFinished": epoch(workflow.finished_at) if workflow.finished_at else None,
        "results": _results(record),
        "stopreq": int(workflow.stop),
        "removed": int(workflow.removed),
        "algoDID": algorithm,
        "inputDID": inputs,
    }
    if workflow.ending is not None:
        ending = workflow.ending
        view["reason"] = ending.reason
        view["terminationDetails"] = {"OOMKilled": ending.oom_killed, "exitCode": ending.exit_code}
    return view


def running(record: Record) -> Running:
    """One entry of /runningjobs."""
    workflow = record.workflow
    algorithm, inputs = _dids(record.submission.document)
    return {
        "agreementId": record.submission.agreement_id,
        "jobId": workflow.id,
        "owner": record.submission.owner,
        "status": workflow.status,
        "statusText": codes.text(workflow.status),
        "dateCreated": epoch(workflow.created_at),
        "namespace": workflow.environment,
        "algoDID": algorithm,
        "inputDID": inputs,
    }


def epoch(at: datetime) -> str:
    """Seconds since 1970 with six decimals, exactly; a float would be off by a microsecond."""
    seconds, micro = divmod((at - _EPOCH) // timedelta(microseconds=1), 10**6)
    return f"{seconds}.{micro:06d}"


def files(published: Iterable[ResultFile]) -> list[File]:
    """Files without their internal URLs."""
    return [{"filename": file.filename, "filesize": file.size, "type": file.type} for file in published]


def _results(record: Record) -> list[File] | str:
    gone = record.workflow.removed or record.workflow.expired
    return "" if gone else files(record.manifest.files) or ""


def _dids(document: Mapping[str, Any]) -> tuple[str | None, list[str]]:
    """The ids of algorithm and inputs. Tolerant of what an old database may hold; new documents are checked."""
    stages = document.get("stages")
    stage = stages[0] if isinstance(stages, list) and stages and isinstance(stages[0], dict) else {}
    algorithm, inputs = stage.get("algorithm"), stage.get("input")
    algorithm_id = algorithm.get("id", "raw") if isinstance(algorithm, dict) else "raw"
    items = inputs if isinstance(inputs, list) else []
    return algorithm_id, [item["id"] for item in items if isinstance(item, dict) and "id" in item]
