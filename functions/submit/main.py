"""The function `submit`: what starts, stops and deletes. A request, or an event about a WorkFlow object."""

from __future__ import annotations

import functions_framework
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from functions.api.http import Router, healthz, route
from functions.engine.app import current_app
from functions.submit import compute, migrate_route, workflow_objects

ROUTES = Router(
    [
        route("/compute", compute.start, "POST"),
        route("/compute", compute.stop, "PUT"),
        route("/compute", compute.delete, "DELETE"),
        route("/pgsqlinit", migrate_route.upgrade, "POST"),
        Rule("/", endpoint=workflow_objects.changed, methods=["POST"]),
        Rule("/healthz", endpoint=healthz, methods=["GET"]),
    ]
)


@functions_framework.http
def submit(request: Request) -> Response:
    """The function that Knative calls."""
    return ROUTES.answer(request, current_app)
