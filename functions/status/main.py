"""The function `status`: all routes that read."""

from __future__ import annotations

import functions_framework
from werkzeug.routing import Rule
from werkzeug.wrappers import Request, Response

from functions.api.http import Router, healthz, later
from functions.api.ocean import routes
from functions.api.proof import routes as proof
from functions.api.readiness import Readiness
from functions.api.review import routes as review
from functions.api.tes import routes as tes
from functions.engine.app import current_app
from functions.status import admin, jobs, public
from functions.status.console import routes as console

_REVIEW = "functions.status.review"
_CONSOLE = "functions.status.console"
_TES = "functions.status.tasks"
_PROOFS = "functions.status.proofs"
_LOG = "functions.status.transparency_log"
ROUTER = Router(
    [
        routes.JOBS.to(jobs.jobs),
        routes.RESULT.to(jobs.result),
        routes.ENVIRONMENTS.to(public.environments),
        routes.RUNNING_JOBS.to(admin.running_jobs),
        routes.JOB_IDS.to(admin.job_ids),
        routes.INFO.to(admin.info),
        routes.LOGS.to(later("functions.status.logs", "logs")),
        routes.HISTORY.to(admin.history),
        routes.DEAD_LETTERS.to(admin.dead_letters),
        routes.INDEX.to(public.index),
        routes.HEALTH.to(healthz),
        routes.METRICS.to(later("functions.status.metrics", "metrics")),
        review.HELD.to(later(_REVIEW, "held")),
        review.HELD_JOB.to(later(_REVIEW, "held_job")),
        review.HELD_FILE.to(later(_REVIEW, "held_file")),
        review.FREEZES.to(later(_REVIEW, "freezes")),
        console.INDEX.to(later(f"{_CONSOLE}.static_files", "index")),
        console.FILE.to(later(f"{_CONSOLE}.static_files", "file")),
        console.SESSION.to(later(f"{_CONSOLE}.sign_in", "session")),
        console.SIGN_IN.to(later(f"{_CONSOLE}.sign_in", "sign_in")),
        console.SIGN_OUT.to(later(f"{_CONSOLE}.sign_in", "sign_out")),
        console.OVERVIEW.to(later(f"{_CONSOLE}.pages", "overview")),
        console.WORKFLOWS.to(later(f"{_CONSOLE}.pages", "workflows")),
        console.WORKFLOW.to(later(f"{_CONSOLE}.pages", "workflow")),
        proof.CRATE.to(later(_PROOFS, "get_crate")),
        proof.ATTESTATION.to(later(_PROOFS, "attestation")),
        proof.CHECKPOINT.to(later(_LOG, "checkpoint")),
        proof.INCLUSION.to(later(_LOG, "inclusion")),
        proof.KEYS.to(later(_LOG, "keys")),
        tes.SERVICE_INFO.to(later(_TES, "service_info")),
        tes.LIST.to(later(_TES, "tasks")),
        tes.TASK.to(later(_TES, "task")),
        Rule("/readyz", endpoint=Readiness("environments"), methods=["GET"]),
        Rule("/spec", endpoint=public.spec, methods=["GET"]),
        Rule("/api/v1/docs/", endpoint=public.docs, methods=["GET"]),
        Rule("/api/v1/docs/<name>", endpoint=public.docs_file, methods=["GET"]),
    ]
)


@functions_framework.http
def status(request: Request) -> Response:
    """The function that Knative calls."""
    return ROUTER.answer(request, current_app)
