"""`advance`: one CloudEvent in, at most one transition out.

Answers are empty: to a Knative broker any body that is not a CloudEvent is a failure. 204 says that what the event
had to say is durable, or was nothing; 4xx that it can never be handled; 503 that it shall come again.
"""

from __future__ import annotations

import logging
from typing import Any

import functions_framework
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from functions.advance.event_filter import Hint, interest
from functions.api import cloudevents, http
from functions.engine.app import App, current_app
from functions.log import about

logger = logging.getLogger(__name__)

# Knative's own parts refuse larger events; a Job with a large environment stays far below.
MAX_EVENT = 1 << 20
LONGEST_ID = 255  # of an event, in the dead letters
TICK = "dev.knative.sources.ping"


def receive(call: http.Call) -> Response:
    """An event of the cluster, or a tick."""
    event = cloudevents.read(call.request, MAX_EVENT)
    if event.type == TICK:
        from functions.advance.sweep import sweep

        sweep(call.app)
    elif hint := interest(event.attributes, event.data):
        follow(call.app, hint, event.id)
    return http.empty()


def add_dead_letter(call: http.Call) -> Response:
    """An event that could not be delivered: kept for somebody to read (`sluice dead-letters`).

    Only what identifies it is kept, because its data may carry URLs with credentials.
    """
    from functions.log import scrub

    try:
        event = cloudevents.read(call.request, MAX_EVENT)
        kept: dict[str, Any] = {"attributes": dict(event.attributes), "object": _identity(event.data)}
        number, reason = event.id, event.attributes.get("knativeerrorcode", "")
    except http.HttpError as e:
        kept, number, reason = {"attributes": {}}, call.request.headers.get("ce-id", ""), e.message
    kept["attributes"].pop("knativeerrordata", None)
    logger.error("dead letter", extra=about(event=number, reason=scrub(reason)))
    call.app.store.add_dead_letter(number[:LONGEST_ID], scrub(reason), kept, call.app.clock())
    return http.empty()


def follow(app: App, hint: Hint, cause: str) -> None:
    """Go and look, if the hint is of the attempt that runs; otherwise complete what its first delivery left open."""
    from functions.advance.reconcile import look

    workflow = app.store.state(hint.ref.workflow)
    if workflow is None:
        logger.info("unknown workflow", extra=about(workflow=hint.ref.workflow, event=cause))
    elif (workflow.stage, workflow.attempt) == (hint.ref.stage, hint.ref.attempt):
        look(app, workflow, cause, hint.pod)
    else:
        app.transitions.carry_out(workflow.id, cause)


def _identity(data: Any) -> dict[str, Any]:
    metadata = data.get("metadata") if isinstance(data, dict) else None
    if not isinstance(metadata, dict):
        return {}
    return {"kind": data.get("kind"), **{key: metadata.get(key) for key in ("namespace", "name", "uid")}}


ROUTER = http.Router(
    [
        Rule("/", endpoint=receive, methods=["POST"]),
        Rule("/dead-letters", endpoint=add_dead_letter, methods=["POST"]),
        Rule("/healthz", endpoint=http.healthz, methods=["GET"]),
    ]
)


@functions_framework.http
def advance(request: Request) -> Response:
    """The function that Knative calls."""
    return ROUTER.answer(request, current_app)
