"""operator-service's forms, which submit and status share: what a request must hold, filters, status objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from functions.store.ports import Query
from functions.web import HttpError
from functions.workflow import codes
from functions.workflow.model import Record

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
    """What a provider signs (before the nonce): the owner, and the job where one is named. `None` without owner."""
    return f"{params.get('owner')}{given(params, 'jobId') or ''}"


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


def statuses(records: Iterable[Record]) -> list[dict[str, Any]]:
    return [status(record) for record in records]


def status(record: Record) -> dict[str, Any]:
    """The status object of a job. `reason` and `terminationDetails`: only where it is known to end abnormally."""
    workflow = record.workflow
    view = {
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
        **_dids(record),
    }
    if workflow.ending is not None:
        ending = workflow.ending
        view["reason"] = ending.reason
        view["terminationDetails"] = {"OOMKilled": ending.oom_killed, "exitCode": ending.exit_code}
    return view


def running(record: Record) -> dict[str, Any]:
    """One entry of /runningjobs."""
    workflow = record.workflow
    return {
        "agreementId": record.submission.agreement_id,
        "jobId": workflow.id,
        "owner": record.submission.owner,
        "status": workflow.status,
        "statusText": codes.text(workflow.status),
        "dateCreated": epoch(workflow.created_at),
        "namespace": workflow.environment,
        **_dids(record),
    }


def epoch(at: datetime) -> str:
    """Seconds since 1970 with six decimals, exactly; a float would be off by a microsecond."""
    seconds, micro = divmod((at - _EPOCH) // timedelta(microseconds=1), 10**6)
    return f"{seconds}.{micro:06d}"


def _results(record: Record) -> list[dict[str, Any]] | str:
    gone = record.workflow.removed or record.workflow.expired
    files = () if gone else record.manifest.files
    return [{"filename": file.filename, "filesize": file.size, "type": file.type} for file in files] or ""


def _dids(record: Record) -> dict[str, Any]:
    """Tolerant of what an old database may hold; new documents are checked at the door."""
    stages = record.submission.document.get("stages")
    stage = stages[0] if isinstance(stages, list) and stages and isinstance(stages[0], dict) else {}
    algorithm, inputs = stage.get("algorithm"), stage.get("input")
    return {
        "algoDID": algorithm.get("id", "raw") if isinstance(algorithm, dict) else "raw",
        "inputDID": [
            item["id"]
            for item in (inputs if isinstance(inputs, list) else [])
            if isinstance(item, dict) and "id" in item
        ],
    }
