"""The functions submit and status as functions-framework serves them, on parts of the test's choice."""

from __future__ import annotations

import copy
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

import functions_framework
from flask import Flask
from support.memory_cluster import MemoryCluster
from support.memory_store import MemoryStore
from werkzeug.test import Client, TestResponse

from functions import ethereum
from functions.cluster.ports import JobRef
from functions.engine.app import App
from functions.settings import Settings
from functions.store.ports import Store
from functions.workflow.decision import Verdict
from functions.workflow.environment import Environment
from functions.workflow.model import Manifest, Outcome, Stage, WorkflowId
from functions.workflow.observation import StageEnded
from functions.workflow.stage_options import FetchOptions

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

ROOT = Path(__file__).parents[2]
KEY = "0x" + "11" * 32  # of the allowed provider
OTHER_KEY = "0x" + "22" * 32
OWNER = "0xA78deb2Fa79463945C247991075E2a0e98Ba7A09"
API = "/api/v1/operator"
NOW = datetime(2026, 11, 22, 12, 0, 0, 446271, tzinfo=UTC)
ADMIN = {"Admin": "myAdminPass"}
DOCUMENT: dict[str, Any] = {
    "stages": [
        {
            "index": 0,
            "input": [{"index": 0, "id": "did:op:1", "remote": {"txId": "0xtx", "serviceId": "s"}}],
            "compute": {"Instances": 1, "namespace": "ocean-compute", "maxtime": 3600},
            "algorithm": {
                "id": "",
                "url": None,
                "rawcode": "console.log('hello world')",
                "container": {"checksum": "sha256:abc", "entrypoint": "node $ALGO", "image": "node", "tag": "10"},
            },
            "output": {"metadataUri": "http://127.0.0.1:5000"},
        }
    ]
}
_APP: ContextVar[App] = ContextVar("app")  # with which a function answers the request of this thread


def settings(**other: Any) -> Settings:
    values: dict[str, Any] = {
        "cluster": "memory",
        "results_url": "file:///nowhere",
        "allowed_providers": (ethereum.address(KEY).upper().replace("0X", "0x"),),
        "allowed_admins": ("myAdminPass",),
        "operator_address": "0x6D39A833d1a6789AECa50dB85CB830bc08319F45",
        "legacy": {"ALGO_POD_TIMEOUT": "3600", "STORAGE_EXPIRY": "86400"},
    }
    return Settings(**{**values, **other})


def environments() -> dict[str, Environment]:
    fetch = FetchOptions(schemes=("http", "https"))
    return {
        "ocean-compute": Environment(
            id="ocean-compute", ram_gb=2, max_jobs=4, price_min=0.5, consumer_address="0x" + "ab" * 20, fetch=fetch
        ),
        "mainnet": Environment(id="mainnet", allowed_chain_id=(1, 137), fetch=fetch),
    }


def altered(*path: str | int, value: Any = None, drop: bool = False) -> dict[str, Any]:
    """The sample document with one place changed."""
    document = copy.deepcopy(DOCUMENT)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


def error(response: TestResponse) -> tuple[int, str]:
    """The status of a refusal, and its message."""
    assert response.json is not None
    return response.status_code, response.json["error"]


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        return self.now

    def pass_(self, **time: float) -> None:
        self.now += timedelta(**time)


def app(store: Store | None = None, **other: Any) -> App:
    """The parts of one process on the memory cluster, with ids and a clock that a test can foresee."""
    numbers = itertools.count(1)
    return App(
        settings(**other),
        clock=Clock(),
        new_id=lambda: f"{next(numbers):032x}",
        new_salt=lambda: "5a" * 32,
        environments=environments(),
        store=store or MemoryStore(),
        cluster=MemoryCluster(),
    )


def function(name: str, app: App) -> WSGIApplication:
    """The WSGI application of a function on the given parts."""
    served = _served(name)

    def call(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        before = _APP.set(app)
        try:
            return served(environ, start_response)
        finally:
            _APP.reset(before)

    return call


@cache
def _served(name: str) -> Flask:
    """A function as functions-framework makes it. That takes 15 ms, so one serves all tests."""
    with patch("functions.engine.app.current_app", _APP.get):
        create: Callable[..., Flask] = functions_framework.create_app
        return create(name, str(ROOT / f"functions/{name}/main.py"))


@dataclass
class Api:
    """A client of both functions, which signs like a Provider."""

    app: App
    key: str = KEY
    _nonces: Iterator[int] = field(default_factory=lambda: itertools.count(int(NOW.timestamp() * 10**9)))

    def __post_init__(self) -> None:
        self.submit = Client(function("submit", self.app))
        self.status = Client(function("status", self.app))

    def nonce(self) -> int:
        return next(self._nonces)

    def signed(self, message: str, **params: Any) -> dict[str, Any]:
        nonce = params.pop("nonce", None) or self.nonce()
        return {**params, "nonce": nonce, "providerSignature": ethereum.sign(self.key, f"{message}{nonce}")}

    def start_body(self, **other: Any) -> dict[str, Any]:
        body = {
            "workflow": DOCUMENT,
            "agreementId": "0xagreement",
            "owner": OWNER,
            "environment": "ocean-compute",
            "chainId": 8996,
            **other,
        }
        return self.signed(str(body["owner"]), **body)

    def post(self, body: Any, headers: Mapping[str, str] | None = None) -> TestResponse:
        return self.submit.post(f"{API}/compute", json=body, headers=headers)

    def start(self, **other: Any) -> dict[str, Any]:
        """Start a job; its status object."""
        response = self.post(self.start_body(**other))
        assert response.status_code == 200, response.text
        job: dict[str, Any] = json.loads(response.text)[0]
        return job

    def get(self, path: str, params: Mapping[str, Any] | None = None, **other: Any) -> TestResponse:
        return self.status.get(f"{API}{path}", query_string=params, **other)

    def jobs(self, job_id: str) -> list[dict[str, Any]]:
        response = self.get("/compute", self.signed(f"{OWNER}{job_id}", owner=OWNER, jobId=job_id))
        assert response.status_code == 200, response.text
        found: list[dict[str, Any]] = json.loads(response.text)
        return found

    def stop(self, method: str = "PUT", **filters: Any) -> TestResponse:
        """Stop a job, or delete it with the method DELETE."""
        asked = self.signed(f"{OWNER}{filters.get('jobId', '')}", owner=OWNER, **filters)
        return self.submit.open(f"{API}/compute", method=method, query_string=asked)

    def stop_and_end(self, job: str) -> None:
        self.stop(jobId=job)
        self.end_stage(job, Stage.PUBLISH)
        assert self.jobs(job)[0]["dateFinished"] is not None

    @property
    def cluster(self) -> MemoryCluster:
        assert isinstance(self.app.cluster, MemoryCluster)
        return self.app.cluster

    def end_stage(self, job: str, stage: Stage, manifest: Manifest | None = None) -> None:
        """The stage's Job succeeds; publish with what it published."""
        self.cluster.finish(JobRef(WorkflowId(job), stage, 1, "ocean-compute"))
        published = (manifest or Manifest()) if stage is Stage.PUBLISH else None
        seen = StageEnded(stage, 1, None, Outcome.SUCCEEDED, 0, manifest=published)
        assert self.app.transitions.apply(WorkflowId(job), seen, "test") is Verdict.APPLIED

    def finished(self, manifest: Manifest | None = None, **start: Any) -> str:
        """The id of a job that has succeeded and published `manifest`."""
        job: str = self.start(**start)["jobId"]
        for stage in (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH):
            self.end_stage(job, stage, manifest)
        return job
