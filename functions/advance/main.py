"""`advance`: one CloudEvent in, at most one transition out.

Answers are empty: a Knative broker takes any body that is not a CloudEvent for a failure. 204: the event's effect is
durable, or there was none. 4xx: the event can never be handled. 503: send it again.
"""

from __future__ import annotations

import logging

import functions_framework
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from functions.advance.event_filter import Hint, hint_of
from functions.api import cloudevents, http
from functions.api.readiness import Readiness
from functions.engine import sweep_settings
from functions.engine.app import App, current_app
from functions.log import about

logger = logging.getLogger(__name__)

TICK = "dev.knative.sources.ping"


def receive(call: http.Call) -> Response:
    """Handle an event of the cluster, or a tick."""
    event = cloudevents.read(call)
    if event.type == TICK:
        from functions.advance.sweep import level_of, sweep

        sweep(call.app, level_of(event.data))
    elif hint := hint_of(event.attributes, event.data):
        handle_hint(call.app, hint, event.id)
    return http.empty()


def add_dead_letter(call: http.Call) -> Response:
    """Keep an event that could not be delivered."""
    from functions.advance.dead_letters import receive

    return receive(call)


def handle_hint(app: App, hint: Hint, cause: str) -> None:
    """Reconcile the workflow if the hint is about the running attempt; otherwise carry out its open intents."""
    from functions.advance.reconcile import reconcile

    workflow = app.store.state(hint.ref.workflow)
    if workflow is None:
        logger.info("unknown workflow", extra=about(workflow=hint.ref.workflow, event=cause))
    elif (workflow.stage, workflow.attempt, workflow.executor) == (hint.ref.stage, hint.ref.attempt, hint.ref.executor):
        reconcile(app, workflow, cause, hint.pod)
    else:
        app.transitions.carry_out(workflow.id, cause)


ROUTER = http.Router(
    [
        Rule("/", endpoint=receive, methods=["POST"]),
        Rule("/dead-letters", endpoint=add_dead_letter, methods=["POST"]),
        Rule("/healthz", endpoint=http.healthz, methods=["GET"]),
        Rule("/readyz", endpoint=Readiness("environments", "policies"), methods=["GET"]),
    ],
    max_body=cloudevents.MAX_EVENT,
)


@functions_framework.http
def advance(request: Request) -> Response:
    """The function that Knative calls."""
    return ROUTER.answer(request, _signing_app)


def _signing_app() -> App:
    """Return the App of the one function that signs checkpoints. Raises SettingsError."""
    app = current_app()
    sweep_settings.check_signer(app.settings)
    return app
