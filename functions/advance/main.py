"""`advance`: one CloudEvent in, at most one transition out.

Answers are empty: a Knative broker takes any body that is not a CloudEvent for a failure. 204: the event's effect is
durable, or there was none. 4xx: the event can never be handled. 503: send it again.
"""

from __future__ import annotations

import logging
from typing import Any

import functions_framework
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from functions.advance.event_filter import Hint, hint_of
from functions.api import cloudevents, http
from functions.engine.app import App, current_app
from functions.log import about

logger = logging.getLogger(__name__)

# bytes; Knative's own parts refuse larger events
MAX_EVENT = 1 << 20
MAX_ID = 255  # characters of an event's id in the dead letters
TICK = "dev.knative.sources.ping"


def receive(call: http.Call) -> Response:
    """Handle an event of the cluster, or a tick."""
    event = cloudevents.read(call, MAX_EVENT)
    if event.type == TICK:
        from functions.advance.sweep import level_of, sweep

        sweep(call.app, level_of(event.data))
    elif hint := hint_of(event.attributes, event.data):
        handle_hint(call.app, hint, event.id)
    return http.empty()


def add_dead_letter(call: http.Call) -> Response:
    """Keep an event that could not be delivered (`sluice dead-letters` lists them).

    Only what identifies the event is kept, because its data may contain URLs with credentials.
    """
    from functions.log import scrub

    try:
        event = cloudevents.read(call, MAX_EVENT)
        kept: dict[str, Any] = {"attributes": dict(event.attributes), "object": _identity(event.data)}
        number, reason = event.id, event.attributes.get("knativeerrorcode", "")
    except http.HttpError as e:
        kept, number, reason = {"attributes": {}}, call.request.headers.get("ce-id", ""), e.message
    kept["attributes"].pop("knativeerrordata", None)
    logger.error("dead letter", extra=about(event=number, reason=scrub(reason)))
    call.app.store.add_dead_letter(number[:MAX_ID], scrub(reason), kept, call.app.clock())
    return http.empty()


def handle_hint(app: App, hint: Hint, cause: str) -> None:
    """Reconcile the workflow if the hint is about the running attempt; otherwise carry out its open intents."""
    from functions.advance.reconcile import reconcile

    workflow = app.store.state(hint.ref.workflow)
    if workflow is None:
        logger.info("unknown workflow", extra=about(workflow=hint.ref.workflow, event=cause))
    elif (workflow.stage, workflow.attempt) == (hint.ref.stage, hint.ref.attempt):
        reconcile(app, workflow, cause, hint.pod)
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
