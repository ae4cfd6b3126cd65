"""The routes that only operators may read, with the `Admin` header."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import chain as one_after_another

from werkzeug.wrappers import Response

from functions.api.auth.guard import require_admin
from functions.api.http import Call, HttpError
from functions.api.json_answers import answer, answer_pages, large_record
from functions.api.ocean.answers import PAGE_BYTES, running
from functions.api.ocean.requests import filter_value, query
from functions.cluster.ports import ClusterUnavailable, job_ref
from functions.results.ports import Content, NotFound
from functions.status import views
from functions.store.values import Attempt, Query
from functions.workflow import codes
from functions.workflow.model import Record, Stage, Workflow, WorkflowId
from functions.workflow.progress_line import Progress, last

# At most this much is returned, from the end of the log.
MAX_LOG = 10 * (1 << 20)  # bytes
MAX_LINES = 10_000
PROGRESS_LINES = 20
_PLAIN = "text/plain; charset=utf-8"
_LOG_TYPES = {
    Stage.CONFIGURE: "configrationLog",  # sic: clients depend on Ocean's spelling
    Stage.ALGORITHM: "algorithmLog",
    Stage.FILTER: "filteringLog",
    Stage.CHECK: "checkLog",
    Stage.PUBLISH: "publishLog",
    Stage.RELEASE: "releaseLog",
}


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
    record = _job(call)
    attempts = call.app.store.attempts(record.workflow.id)
    return answer(views.info(record, attempts, _progress(call, record, attempts)))


def history(call: Call) -> Response:
    """GET /history?jobId=: list every step of one job and its cause."""
    record = _job(call)
    return answer(views.history(call.app.store.history(record.workflow.id)))


def dead_letters(call: Call) -> Response:
    """GET /dead-letters: list the events that could not be handled, newest first."""
    require_admin(call)
    return answer(views.dead_letters(call.app.store.dead_letters(query(call.params).limit)))


def logs(call: Call) -> Response:
    """GET /logs?jobId=&component=: send a stage's log, from its Job while that exists, else from the published file."""
    record = _job(call)
    stage = _stage(call)
    live = _live_log(call, record, stage)
    if live is not None:
        return Response(live, 200, content_type=_PLAIN)
    published = _published_log(call, record, stage)
    if published is None:
        raise HttpError(404, _no_log(record.workflow, stage))
    response = Response(published.chunks, 200, content_type=_PLAIN)
    response.call_on_close(published.close)
    return response


def _page(call: Call, *, unfinished: bool = False) -> Query:
    asked = query(call.params)
    return Query(unfinished=unfinished, limit=asked.limit, offset=asked.offset)


def _job(call: Call) -> Record:
    require_admin(call)
    job = filter_value(call.params, "jobId")
    if job is None:
        raise HttpError(400, "`jobId` is required")
    with large_record():
        record = call.app.store.get(WorkflowId(job))
    if record is None:
        raise HttpError(404, f"No job {job}")
    return record


def _stage(call: Call) -> Stage:
    component = call.params.get("component", Stage.ALGORITHM)
    if component not in list(Stage):
        raise HttpError(400, f"`component` must be one of {', '.join(Stage)}")
    return Stage(component)


def _no_log(workflow: Workflow, stage: Stage) -> str:
    """Say why a job has no log of a stage."""
    if workflow.stage is stage:
        return f"No log of {stage} for job {workflow.id} yet: the stage is still running and has printed nothing"
    if not workflow.finished:
        state = f"the job is still running ({codes.text(workflow.status).strip()})"
        return f"No log of {stage} for job {workflow.id} yet: {state}"
    return f"No log of {stage} for job {workflow.id}"


def _live_log(call: Call, record: Record, stage: Stage) -> Iterator[bytes] | None:
    attempts = [each for each in call.app.store.attempts(record.workflow.id) if each.stage is stage]
    if not attempts:
        return None
    chunks = _printed(call, record, attempts[-1], MAX_LINES)
    first = next(chunks, None)
    return None if first is None else one_after_another([first], chunks)


def _printed(call: Call, record: Record, attempt: Attempt, lines: int) -> Iterator[bytes]:
    ref = job_ref(record.workflow, attempt.stage, attempt.attempt, call.app.environments)
    return call.app.cluster.logs(replace(ref, uid=attempt.job_uid), lines, MAX_LOG)


def _progress(call: Call, record: Record, attempts: Sequence[Attempt]) -> Progress | None:
    """Return the progress of a running configure or publish. If the cluster is unavailable it is left out."""
    running = [each for each in attempts[-1:] if each.end is None and each.stage.is_ours]
    try:
        return next((last(_printed(call, record, each, PROGRESS_LINES)) for each in running), None)
    except ClusterUnavailable:
        return None


def _published_log(call: Call, record: Record, stage: Stage) -> Content | None:
    files = (*record.manifest.admin_files, *record.manifest.files)
    found = next((file for file in files if file.type == _LOG_TYPES[stage]), None)
    if found is None or record.workflow.removed or record.workflow.expired:
        return None
    try:
        return call.app.storage.open(found, max(0, found.size - MAX_LOG), found.size)
    except NotFound:
        return None
