"""What is asked of the Kubernetes API: how often, by what right, and at what cost to start."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import yaml
from support.clusters import stage_job
from support.fake_kube import FakeKube

from functions.cluster.kubernetes import KubernetesCluster
from functions.workflow.model import Outcome, Stage, Terms, Workflow, WorkflowId

ROLES = Path(__file__).parents[2] / "k8s_install" / "binding.yml"
STAGES = (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH)


def run(kube: FakeKube, kubernetes: KubernetesCluster, workflow: str = "w") -> None:
    """A workflow without faults: each stage's end is told by its Pod."""
    for stage in STAGES:
        job = stage_job(workflow, stage)
        uid = kubernetes.create(job)
        pod = kube.terminate(job.ref.name, 0)
        assert kubernetes.read(replace(job.ref, uid=uid), pod).outcome is Outcome.SUCCEEDED
    kubernetes.clean_up(WorkflowId(workflow), "demo")


def test_a_workflow_without_faults_takes_at_most_12_calls_and_lists_nothing(
    kube: FakeKube, kubernetes: KubernetesCluster
) -> None:
    run(kube, kubernetes)
    assert kube.calls.total() <= 12
    assert not [call for call in kube.calls if call[0] == "list"]


def test_after_the_clean_up_nothing_is_left(kube: FakeKube, kubernetes: KubernetesCluster) -> None:
    run(kube, kubernetes)
    assert kube.objects == {}


def test_the_roles_grant_exactly_what_is_used(kube: FakeKube, kubernetes: KubernetesCluster) -> None:
    run(kube, kubernetes)
    job = stage_job("v", Stage.CONFIGURE)
    kubernetes.create(job)
    kubernetes.read(job.ref)
    kubernetes.delete(job.ref)
    kubernetes.leftovers("demo", 1)
    kube.put("workflows", {"metadata": {"name": "o"}})
    kubernetes.workflow_object("demo/o")
    kubernetes.report("demo/o", Workflow(WorkflowId("o"), "demo", Terms(), datetime(2026, 11, 22, tzinfo=UTC)))
    granted = {
        (verb, resource)
        for document in yaml.safe_load_all(ROLES.read_text())
        if document["kind"] == "Role" and document["metadata"]["name"] in ("sluice-submit", "sluice-advance")
        for rule in document["rules"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert set(kube.calls) == granted


def test_a_function_in_a_pod_does_not_import_the_models_of_kubernetes() -> None:
    code = (
        "import sys; from functions.cluster.kubernetes import KubernetesCluster; "
        "from functions.cluster.api import Access, Api; Api(Access('http://127.0.0.1:1'), 4); "
        "sys.exit('kubernetes' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
