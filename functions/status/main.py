"""The function `status`: all routes that read."""

from __future__ import annotations

import functions_framework
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from functions.api.http import Router, healthz
from functions.api.ocean import routes
from functions.engine.app import current_app
from functions.status import admin, jobs, public

ROUTER = Router(
    [
        routes.JOBS.to(jobs.jobs),
        routes.RESULT.to(jobs.result),
        routes.ENVIRONMENTS.to(public.environments),
        routes.RUNNING_JOBS.to(admin.running_jobs),
        routes.JOB_IDS.to(admin.job_ids),
        routes.INFO.to(admin.info),
        routes.LOGS.to(admin.logs),
        routes.HISTORY.to(admin.history),
        routes.DEAD_LETTERS.to(admin.dead_letters),
        routes.INDEX.to(public.index),
        Rule("/spec", endpoint=public.spec, methods=["GET"]),
        Rule("/api/v1/docs/", endpoint=public.docs, methods=["GET"]),
        Rule("/api/v1/docs/<name>", endpoint=public.docs_file, methods=["GET"]),
        Rule("/healthz", endpoint=healthz, methods=["GET"]),
    ]
)


@functions_framework.http
def status(request: Request) -> Response:
    """The function that Knative calls."""
    return ROUTER.answer(request, current_app)
