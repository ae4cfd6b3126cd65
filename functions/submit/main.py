"""The function `submit`: starts, stops and deletes jobs, by request or by an event about a WorkFlow object."""

from __future__ import annotations

import functions_framework
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from functions.api.http import Router, healthz, later
from functions.api.ocean import routes
from functions.api.readiness import Readiness
from functions.api.review import routes as review
from functions.api.tes import routes as tes
from functions.engine.app import current_app
from functions.submit import compute, migrate_route, workflow_objects

_REVIEW = "functions.submit.review_actions"
_TES = "functions.submit.task_actions"
ROUTER = Router(
    [
        routes.START.to(compute.start),
        routes.STOP.to(compute.stop),
        routes.DELETE.to(compute.delete),
        routes.UPGRADE.to(migrate_route.upgrade),
        review.DECIDE.to(later(_REVIEW, "decide")),
        review.RELEASE.to(later(_REVIEW, "release")),
        review.REVOKE.to(later(_REVIEW, "revoke")),
        review.FREEZE.to(later(_REVIEW, "freeze")),
        review.UNFREEZE.to(later(_REVIEW, "unfreeze")),
        tes.CREATE.to(later(_TES, "create")),
        tes.CANCEL.to(later(_TES, "cancel")),
        Rule("/", endpoint=workflow_objects.changed, methods=["POST"]),
        Rule("/healthz", endpoint=healthz, methods=["GET"]),
        Rule("/readyz", endpoint=Readiness("environments", "policies"), methods=["GET"]),
    ]
)


@functions_framework.http
def submit(request: Request) -> Response:
    """The function that Knative calls."""
    return ROUTER.answer(request, current_app)
