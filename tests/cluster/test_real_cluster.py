"""Whole workflows on the cluster of SLUICE_TEST_KUBECONFIG: `pytest -m cluster`, as CONTRIBUTING.md describes it."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from support.memory_store import MemoryStore
from support.real_cluster import ProxiedStorage, RealCluster
from support.world import ENVIRONMENT, environment

from functions.advance.sweep import sweep
from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.engine.app import App
from functions.results.storage import open_storage
from functions.store.values import Query
from functions.workflow.codes import Code
from functions.workflow.document import parse
from functions.workflow.environment import grant
from functions.workflow.model import Phase, Record, Submission, Workflow, WorkflowId
from functions.workflow.observation import StopRequested

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
PATIENCE = 300.0  # seconds, image pulls included


@pytest.fixture
def app(real: RealCluster) -> Iterator[App]:
    """The whole system in this process, without events, on the real cluster. Its workflows are removed at the end."""
    storage: Any = ProxiedStorage(real.api, real.namespace)
    if "SLUICE_TEST_RESULTS_URL" in os.environ:
        storage = open_storage(real.settings)
    made = App(
        real.settings,
        environments={ENVIRONMENT: environment(namespace=real.namespace, max_job_duration=120)},
        store=MemoryStore(),
        cluster=KubernetesCluster(real.settings),
        storage=storage,
    )
    yield made
    real.remove(*(found.workflow.id for found in made.store.find(Query())))


def submit(app: App, real: RealCluster, code: str, entrypoint: str = "python3 $ALGO") -> WorkflowId:
    image, _, tag = real.algorithm_image.rpartition(":")
    algorithm = {"rawcode": code, "container": {"entrypoint": entrypoint, "image": image, "tag": tag}}
    document = {"stages": [{"index": 0, "input": [], "compute": {}, "output": {}, "algorithm": algorithm}]}
    [environment] = app.environments.values()
    limits = grant(environment, parse(document))
    workflow = Workflow(WorkflowId(uuid4().hex), environment.id, limits, app.clock())
    submission = Submission(workflow.id, "0xowner", "0xprovider", document, "secret")
    return app.transitions.submit(Record(workflow, submission), "test").workflow.id


def state(app: App, workflow: WorkflowId) -> Workflow:
    found = app.store.state(workflow)
    assert found is not None
    return found


def run_until(app: App, workflow: WorkflowId, phase: Phase) -> Workflow:
    """Sweep, in place of events, until the workflow is in that phase."""
    deadline = time.monotonic() + PATIENCE
    while state(app, workflow).phase is not phase:
        assert time.monotonic() < deadline, list(app.store.history(workflow))
        sweep(app)
        time.sleep(0.5)
    return state(app, workflow)


def test_a_workflow_runs_to_its_end_and_leaves_nothing(app: App, real: RealCluster) -> None:
    workflow = submit(app, real, "import os; open(os.environ['OUTPUTS'] + '/a.txt', 'w').write('hello')")
    end = run_until(app, workflow, Phase.FINISHED)
    record = app.store.get(workflow)
    assert record is not None
    assert (end.status, [file.filename for file in record.manifest.files]) == (Code.FINISHED, ["a.txt"])
    assert "algorithm succeeded" in [line.event for line, _ in app.store.history(workflow)]
    assert workflow not in app.cluster.orphans(app.environments[end.environment].namespace, 100)


def test_the_exit_code_of_an_algorithm_is_recorded(app: App, real: RealCluster) -> None:
    end = run_until(app, submit(app, real, "raise SystemExit(3)"), Phase.FINISHED)
    assert end.ending is not None
    assert (end.status, end.ending.reason, end.ending.exit_code) == (Code.ALGORITHM_FAILED, "AlgorithmExit:3", 3)


def test_an_algorithm_can_write_only_to_its_outputs_logs_and_scratch(app: App, real: RealCluster) -> None:
    tried = " ".join(f"touch {path}/x && exit 9;" for path in ("/data", "/data/inputs", "/data/transformations", "/"))
    end = run_until(app, submit(app, real, "0", f"{tried} touch /data/outputs/x /data/logs/x /tmp/x"), Phase.PUBLISH)
    assert end.ending is None


def test_a_stop_ends_a_running_algorithm(app: App, real: RealCluster) -> None:
    workflow = submit(app, real, "import time; time.sleep(3600)")
    run_until(app, workflow, Phase.ALGORITHM)
    app.transitions.apply(workflow, StopRequested(), "test")
    end = run_until(app, workflow, Phase.FINISHED)
    assert end.ending is not None
    assert end.ending.reason == "StopRequested"
