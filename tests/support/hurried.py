"""submit and advance on a clock that runs faster, over a cluster whose Jobs succeed at once and say so in a file.

Served by gunicorn in `support.monkey`. The rest is what the image serves: routes, store, transitions, sweep.
Jobs are announced while `create` still runs, so that events come before our own record of the Job (F7).
"""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from threading import get_ident
from uuid import uuid4

import functions_framework
from support.job_events import job_event
from werkzeug.wrappers import Request, Response

from functions import log
from functions.advance.main import ROUTER as ADVANCE
from functions.cluster.events import Action, ApiServerEvent, pod_event
from functions.cluster.instant import InstantCluster
from functions.cluster.ports import JobRef, JobStatus, StageJob, State
from functions.engine.app import App
from functions.results import layout
from functions.settings import Settings
from functions.submit.main import ROUTER as SUBMIT
from functions.workflow.model import JobUid, Manifest, ResultFile, WorkflowId

SPEED = 20  # so that the sweep's ten seconds of patience are half a second
BEGAN = "HURRIED_SINCE"
SPOOL = "HURRIED_SPOOL"
RESULTS = "HURRIED_RESULTS"


def hurried_now() -> datetime:
    began = datetime.fromisoformat(os.environ[BEGAN])
    return began + (datetime.now(UTC) - began) * SPEED


def announce(event: ApiServerEvent) -> None:
    """One line in one write, so that lines of several processes do not mix; what a death cuts off is a lost event."""
    _leave_manifest(event)
    line = json.dumps({"headers": dict(event.headers), "body": event.body}) + "\n"
    spool = os.open(os.environ[SPOOL], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(spool, line.encode())
    finally:
        os.close(spool)


def _leave_manifest(event: ApiServerEvent) -> None:
    """What publish will have published is there before its Job can be seen, let alone its end."""
    folder = Path(os.environ[RESULTS], event.body["metadata"]["labels"]["workflow"], "1")
    if (folder / layout.MANIFEST).exists():
        return
    folder.mkdir(parents=True, exist_ok=True)
    half = folder / f".{os.getpid()}-{get_ident()}"
    half.write_bytes(layout.encode(Manifest((ResultFile("outputs/a.csv", 1, "output", "file:///a.csv"),))))
    half.replace(folder / layout.MANIFEST)


class HurriedCluster(InstantCluster):
    """Every Job succeeds at once, and all its events are announced before `create` returns."""

    def __init__(self) -> None:
        self._created: dict[WorkflowId, list[JobRef]] = {}

    def create(self, job: StageJob) -> JobUid:
        uid, ref, at = super().create(job), job.ref, hurried_now()
        self._created.setdefault(job.workflow, []).append(ref)
        announce(job_event(ref, JobStatus(State.RUNNING, uid), Action.ADD, str(uuid4()), at))
        announce(pod_event(ref, self.read(ref), Action.UPDATE, str(uuid4()), at))
        announce(job_event(ref, self.read(ref), Action.UPDATE, str(uuid4()), at))
        return uid

    def clean_up(self, workflow: WorkflowId, namespace: str) -> None:
        for ref in self._created.pop(workflow, ()):
            announce(job_event(ref, self.read(ref), Action.DELETE, str(uuid4()), hurried_now()))


@cache
def app() -> App:
    settings = Settings.load()
    log.setup(settings.log_level)
    return App(settings, clock=hurried_now, cluster=HurriedCluster())


@functions_framework.http
def submit(request: Request) -> Response:
    return SUBMIT.answer(request, app)


@functions_framework.http
def advance(request: Request) -> Response:
    return ADVANCE.answer(request, app)
