"""GET /logs: the log of a stage as it is, or followed while it grows."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain as one_after_another

from werkzeug.wrappers import Response

from functions.api.http import Call, HttpError
from functions.status.admin import printed
from functions.status.followed_log import TEXT, followed_log
from functions.status.log_stream import Position
from functions.status.requested_log import RequestedLog, published_log, requested_log
from functions.workflow import codes
from functions.workflow.model import Stage, Workflow

# At most this much is returned of a log that is not followed, from its end; and at most MAX_LOG bytes.
MAX_LINES = 10_000


def logs(call: Call) -> Response:
    """GET /logs?jobId=&component=&follow=&since=: send a stage's log.

    It comes from the stage's Job while that exists, else from the published file.
    """
    wanted = requested_log(call)
    if _flag(call, "follow"):
        return followed_log(wanted, _position(call))
    if "since" in call.params:
        raise HttpError(400, "`since` needs `follow=1`")
    live = _live(wanted)
    if live is not None:
        return Response(live, 200, content_type=TEXT)
    published = published_log(wanted, wanted.record)
    if published is None:
        raise HttpError(404, _no_log(wanted.record.workflow, wanted.stage))
    response = Response(published.chunks, 200, content_type=TEXT)
    response.call_on_close(published.close)
    return response


def _flag(call: Call, name: str) -> bool:
    value = str(call.params.get(name, "0"))
    if value not in ("0", "1"):
        raise HttpError(400, f"`{name}` must be 0 or 1")
    return value == "1"


def _position(call: Call) -> Position:
    """The position from which to go on: `since`, or what a browser sends when it connects again."""
    text = call.params.get("since", call.request.headers.get("Last-Event-ID", "0"))
    try:
        return Position.parse(str(text))
    except ValueError as e:
        raise HttpError(400, f"`since`: {e}") from None


def _live(wanted: RequestedLog) -> Iterator[bytes] | None:
    call, record = wanted.call, wanted.record
    attempts = [each for each in call.app.store.attempts(record.workflow.id) if each.stage is wanted.stage]
    if not attempts:
        return None
    chunks = printed(call, record, attempts[-1], MAX_LINES)
    first = next(chunks, None)
    return None if first is None else one_after_another([first], chunks)


def _no_log(workflow: Workflow, stage: Stage) -> str:
    """Say why a job has no log of a stage."""
    if workflow.stage is stage:
        return f"No log of {stage} for job {workflow.id} yet: the stage is still running and has printed nothing"
    if not workflow.finished:
        state = f"the job is still running ({codes.text(workflow.status).strip()})"
        return f"No log of {stage} for job {workflow.id} yet: {state}"
    return f"No log of {stage} for job {workflow.id}"
