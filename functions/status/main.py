"""The function `status`: everything that reads."""

from __future__ import annotations

import functions_framework
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from functions.api.http import Router, healthz, route
from functions.engine.app import current_app
from functions.status import admin, jobs, public

ROUTES = Router(
    [
        route("/compute", jobs.jobs),
        route("/getResult", jobs.result),
        route("/environments", public.environments),
        route("/runningjobs", admin.running_jobs),
        route("/list", admin.job_ids),
        route("/info", admin.info),
        route("/logs", admin.logs),
        route("/history", admin.history),
        route("/dead-letters", admin.dead_letters),
        Rule("/", endpoint=public.index, methods=["GET"]),
        Rule("/spec", endpoint=public.spec, methods=["GET"]),
        Rule("/api/v1/docs/", endpoint=public.docs, methods=["GET"]),
        Rule("/api/v1/docs/<name>", endpoint=public.docs_file, methods=["GET"]),
        Rule("/healthz", endpoint=healthz, methods=["GET"]),
    ]
)


@functions_framework.http
def status(request: Request) -> Response:
    """The function that Knative calls."""
    return ROUTES.answer(request, current_app)
