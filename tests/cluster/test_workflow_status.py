"""The status that is written into a WorkFlow object."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from support.clusters import stage_job
from support.fake_kube import FakeKube

from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.kubernetes.workflow_status import workflow_status
from functions.cluster.ports import Rejected
from functions.workflow.codes import Code
from functions.workflow.model import Ending, Limits, Phase, Stage, Workflow, WorkflowId

ALGORITHM = stage_job("w", Stage.ALGORITHM)


def workflow(phase: Phase, code: int = 40, ending: Ending | None = None) -> Workflow:
    at = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
    end = at if phase is Phase.FINISHED else None
    return Workflow(
        WorkflowId("w"), "demo", Limits(), at, phase=phase, status=code, ending=ending, finished_at=end, reported=True
    )


CRASHED = Ending(Code.ALGORITHM_FAILED, "AlgorithmExit:3", 3)


@pytest.mark.parametrize(
    ("state", "phase", "succeeded", "reason"),
    [
        (workflow(Phase.ALGORITHM), "Algorithm", "Unknown", None),
        (workflow(Phase.FINISHED, 70), "Finished", "True", None),
        (workflow(Phase.FINISHED, 41, CRASHED), "Failed", "False", "AlgorithmExit:3"),
        (workflow(Phase.FINISHED, 70, Ending(Code.FINISHED, "StopRequested")), "Finished", "True", "StopRequested"),
    ],
)
def test_the_status_of_a_workflow_object_tells_phase_and_reason(
    kube: FakeKube, kubernetes: KubernetesCluster, state: Workflow, phase: str, succeeded: str, reason: str | None
) -> None:
    kube.put("workflows", {"metadata": {"name": "o"}})
    kubernetes.report("demo/o", state)
    found = kubernetes.workflow_object("demo/o")
    assert found is not None
    written = found["status"]
    assert (written["phase"], written.get("reason"), written["conditions"][0]["status"]) == (phase, reason, succeeded)


def test_a_corrected_workflow_object_loses_its_old_reason(kube: FakeKube, kubernetes: KubernetesCluster) -> None:
    kube.put("workflows", {"metadata": {"name": "o"}})
    kubernetes.report("demo/o", workflow(Phase.FINISHED, 32, Ending(Code.ALGORITHM_PROVISIONING_FAILED, "Invalid: x")))
    kubernetes.report("demo/o", workflow(Phase.QUEUED, 1))
    found = kubernetes.workflow_object("demo/o")
    assert found is not None
    assert {"reason", "finishedAt", "exitCode"} & set(found["status"]) == set()


def test_a_report_to_a_deleted_object_is_rejected_for_good(kubernetes: KubernetesCluster) -> None:
    with pytest.raises(Rejected) as refused:
        kubernetes.report("demo/absent", workflow(Phase.QUEUED))
    assert refused.value.final


def test_the_reason_of_a_condition_is_one_word() -> None:
    told = workflow_status(
        workflow(Phase.FINISHED, 32, Ending(Code.ALGORITHM_PROVISIONING_FAILED, "Invalid: $.stages: 1"))
    )
    [condition] = told["conditions"]
    assert (condition["reason"], condition["message"]) == ("Invalid", "Invalid: $.stages: 1")
