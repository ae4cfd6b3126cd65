"""The function `submit`: what starts, stops and deletes. A request, or an event about a WorkFlow object."""

from __future__ import annotations

import functions_framework
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from functions.api.http import Router, healthz, route
from functions.engine.app import sluice
from functions.submit import database, objects, requests

ROUTES = Router(
    [
        route("/compute", requests.start, "POST"),
        route("/compute", requests.stop, "PUT"),
        route("/compute", requests.delete, "DELETE"),
        route("/pgsqlinit", database.upgrade, "POST"),
        Rule("/", endpoint=objects.changed, methods=["POST"]),
        Rule("/healthz", endpoint=healthz, methods=["GET"]),
    ]
)


@functions_framework.http
def submit(request: Request) -> Response:
    """The function that Knative calls."""
    return ROUTES.answer(request, sluice)
