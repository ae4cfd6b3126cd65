"""The calls that a workflow makes to the Kubernetes API, and what a function imports for them."""

from __future__ import annotations

import subprocess
import sys

import pytest
from msgspec.structs import replace
from support.fake_kube import FakeKube
from support.kube_world import KubeWorld
from support.world import TASK

from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.workflow.codes import Code
from functions.workflow.model import Manifest, Stage

STAGES = (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH)


@pytest.fixture
def world(kube: FakeKube, kubernetes: KubernetesCluster) -> KubeWorld:
    return KubeWorld(kube, kubernetes)


def test_a_workflow_without_faults_takes_at_most_12_calls_and_no_list(world: KubeWorld) -> None:
    workflow = world.submit()
    for stage in STAGES:
        assert world.state(workflow).stage is stage
        world.end_pod(workflow)
    assert (world.state(workflow).finished, world.state(workflow).status) == (True, Code.FINISHED)
    assert world.kube.calls.total() <= 12, world.kube.calls
    assert not [call for call in world.kube.calls if call[0] == "list"]


def test_each_further_executor_of_a_task_takes_at_most_3_calls(world: KubeWorld) -> None:
    workflow = world.submit(document=TASK)
    world.end_pod(workflow)
    for number in range(len(TASK["executors"])):
        state = world.state(workflow)
        assert (state.stage, state.executor) == (Stage.ALGORITHM, number)
        world.end_pod(workflow)
    world.end_pod(workflow)
    assert (world.state(workflow).finished, world.state(workflow).status) == (True, Code.FINISHED)
    assert world.kube.calls.total() <= 12 + 3 * (len(TASK["executors"]) - 1), world.kube.calls
    assert not [call for call in world.kube.calls if call[0] == "list"]


def test_the_later_events_of_the_job_cost_no_call(world: KubeWorld) -> None:
    workflow = world.submit()
    world.end_pod(workflow)
    bodies = world.finish_jobs()
    before = world.kube.calls.total()
    for body in bodies:
        if body["metadata"]["labels"]["component"] == Stage.CONFIGURE:
            world.receive({"ce-type": "dev.knative.apiserver.resource.update"}, body)
    assert world.kube.calls.total() == before


def test_after_the_end_nothing_of_the_workflow_is_left(world: KubeWorld) -> None:
    workflow = world.submit()
    for _ in STAGES:
        world.end_pod(workflow)
    assert world.kube.objects == {}


def test_after_a_stop_nothing_of_the_workflow_is_left(world: KubeWorld) -> None:
    workflow = world.submit()
    world.end_pod(workflow)
    world.stop(workflow)
    while not world.state(workflow).finished:
        if world.state(workflow).stage is Stage.PUBLISH:
            world.end_pod(workflow)
        world.tick()
    assert world.kube.objects == {}
    assert world.kube.created.total() == len(STAGES)


def test_without_any_event_the_sweep_finishes_the_workflow(world: KubeWorld) -> None:
    workflow = world.submit()
    for stage in STAGES:
        world.kube.finish(world.job(workflow).name)
        if stage is Stage.PUBLISH:
            world.storage.put_manifest(workflow, 1, Manifest())
        world.tick()
    assert world.state(workflow).finished
    assert world.kube.objects == {}


def test_every_attempt_has_only_one_job_ever(world: KubeWorld) -> None:
    workflow = world.submit()
    ref = world.job(workflow)
    world.kube.remove("jobs", ref.name)
    world.tick()
    assert world.job(workflow) == replace(ref, attempt=2, uid=world.job(workflow).uid)
    assert set(world.kube.created.values()) == {1}


def test_a_function_in_a_pod_does_not_import_the_models_of_kubernetes() -> None:
    code = (
        "import sys; from functions.cluster.kubernetes.cluster import KubernetesCluster; "
        "from functions.cluster.kubernetes.access import Access; "
        "from functions.cluster.kubernetes.client import Api; Api(Access('http://127.0.0.1:1'), 4); "
        "sys.exit('kubernetes' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
