"""The routes that only operators may read, with the `Admin` header."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace
from werkzeug.wrappers import Response

from functions.api.auth.guard import require_admin
from functions.api.http import Call, HttpError
from functions.api.json_answers import answer, answer_pages, large_record
from functions.api.ocean.answers import PAGE_BYTES, running
from functions.api.ocean.requests import filter_value, query
from functions.cluster.ports import ClusterUnavailable, job_ref
from functions.status import views
from functions.store.values import Attempt, Query
from functions.workflow.model import Record, WorkflowId
from functions.workflow.progress_line import Progress, last

MAX_LOG = 10 * (1 << 20)  # bytes of a log that an answer holds
PROGRESS_LINES = 20


def running_jobs(call: Call) -> Response:
    """GET /runningjobs: list the unfinished jobs of all owners."""
    require_admin(call)
    found = call.app.store.find_in_pages(_page(call, unfinished=True), PAGE_BYTES)
    return answer_pages([running(record) for record in page] for page in found)


def job_ids(call: Call) -> Response:
    """GET /list: list the ids of all jobs, newest first."""
    require_admin(call)
    return answer(call.app.store.ids(_page(call)))


def info(call: Call) -> Response:
    """GET /info?jobId=: show everything recorded of one job."""
    record = job_of(call)
    attempts = call.app.store.attempts(record.workflow.id)
    return answer(views.info(record, attempts, _progress(call, record, attempts)))


def history(call: Call) -> Response:
    """GET /history?jobId=: list every step of one job and its cause."""
    record = job_of(call)
    return answer(views.history(record, call.app.store.history(record.workflow.id)))


def dead_letters(call: Call) -> Response:
    """GET /dead-letters: list the events that could not be handled, newest first."""
    require_admin(call)
    return answer(views.dead_letters(call.app.store.dead_letters(query(call.params).limit)))


def _page(call: Call, *, unfinished: bool = False) -> Query:
    asked = query(call.params)
    return Query(unfinished=unfinished, limit=asked.limit, offset=asked.offset)


def job_of(call: Call) -> Record:
    """Return the job that an operator asks for. Raises HttpError."""
    require_admin(call)
    job = filter_value(call.params, "jobId")
    if job is None:
        raise HttpError(400, "`jobId` is required")
    with large_record():
        record = call.app.store.get(WorkflowId(job))
    if record is None:
        raise HttpError(404, f"No job {job}")
    return record


def printed(call: Call, record: Record, attempt: Attempt, lines: int, max_bytes: int = MAX_LOG) -> Iterator[bytes]:
    """Yield the last `lines` lines of what the Job of an attempt has printed; nothing if there is no such Job."""
    ref = job_ref(record.workflow, attempt.stage, attempt.attempt, call.app.environments, attempt.executor)
    return call.app.cluster.logs(replace(ref, uid=attempt.job_uid), lines, max_bytes)


def _progress(call: Call, record: Record, attempts: Sequence[Attempt]) -> Progress | None:
    """Return the progress of a running configure or publish. If the cluster is unavailable it is left out."""
    running = [each for each in attempts[-1:] if each.end is None and each.stage.is_ours]
    try:
        return next((last(printed(call, record, each, PROGRESS_LINES)) for each in running), None)
    except ClusterUnavailable:
        return None
