"""Reading a Job: deletions, conditions, suspension, and objects that are not ours (F7, F8, F27, F30, F32)."""

from __future__ import annotations

import msgspec
import pytest
from msgspec.structs import replace
from support.clusters import stage_job
from support.fake_kube import FakeKube

from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.ports import JobStatus, StageJob, State
from functions.workflow.model import JobUid, Outcome, Stage

ALGORITHM = stage_job("w", Stage.ALGORITHM)


def test_f7_a_job_whose_uid_is_not_recorded_yet_is_read_by_its_name(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    pod = kube.terminate(job.ref.name, 0)
    status = kubernetes.read(job.ref, pod)
    assert (status.state, status.uid, status.outcome, status.exit_code) == (State.ENDED, uid, Outcome.SUCCEEDED, 0)


def test_f8_a_foreign_pod_with_our_labels_is_not_believed(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    ours = kube.find("pods", kube.pod_of(job.ref.name))
    assert ours is not None
    for owners in ([], [{**ours["metadata"]["ownerReferences"][0], "uid": "another"}]):
        ended = {"phase": "Succeeded", "containerStatuses": [{"state": {"terminated": {"exitCode": 0}}}]}
        forged = {"metadata": {**ours["metadata"], "name": "forged", "ownerReferences": owners}, "status": ended}
        kube.put("pods", forged)
        assert kubernetes.read(replace(job.ref, uid=uid), "forged") == JobStatus(State.RUNNING, uid)


@pytest.mark.parametrize("lost", ["jobs", "configmaps"])
def test_f27_a_job_deleted_by_hand_is_gone(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, lost: str
) -> None:
    kube.remove(lost, job.ref.name if lost == "jobs" else "w")
    assert kubernetes.read(replace(job.ref, uid=uid)) == JobStatus(State.GONE)


def test_f27_a_job_that_is_being_deleted_is_gone_when_its_last_pod_ends(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.lingering = True
    kubernetes.delete(replace(job.ref, uid=uid))
    assert kubernetes.read(replace(job.ref, uid=uid)) == JobStatus(State.RUNNING, uid)
    kube.pod_state(job.ref.name, {"terminated": {"exitCode": 137, "reason": "Error"}}, "Failed")
    assert kubernetes.read(replace(job.ref, uid=uid)) == JobStatus(State.GONE)


@pytest.mark.parametrize(
    "conditions",
    [
        [{"type": "SuccessCriteriaMet", "status": "False"}, {"type": "Complete", "status": "False"}],
        [{"type": "Failed", "status": "Unknown"}],
        [{"type": "Suspended", "status": "False"}, {"type": "Novel", "status": "True"}],
    ],
)
def test_f30_a_condition_counts_only_if_it_is_known_and_true(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, conditions: list[dict[str, str]]
) -> None:
    kube.objects[("jobs", "demo", job.ref.name)]["status"]["conditions"] = conditions
    assert kubernetes.read(job.ref) == JobStatus(State.RUNNING, uid)


def test_f30_a_failure_target_does_not_end_a_job_whose_pod_is_active(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.job_condition(job.ref.name, ("FailureTarget", "DeadlineExceeded"), terminating=1)
    assert kubernetes.read(job.ref).state is State.RUNNING
    kube.job_condition(job.ref.name, ("FailureTarget", "DeadlineExceeded"), terminating=0)
    assert kubernetes.read(job.ref).outcome is Outcome.TIMED_OUT


def test_f30_the_suspended_condition_may_come_first(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.job_condition(job.ref.name, ("Suspended", "JobResumed"), ("Complete", "CompletionsReached"))
    assert kubernetes.read(job.ref).outcome is Outcome.SUCCEEDED


def test_f32_a_job_follows_kueue_through_suspension_admission_and_eviction(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob
) -> None:
    queued = replace(job, environment=msgspec.structs.replace(job.environment, queue_name="team"))
    uid = kubernetes.create(queued)
    held = kube.objects[("jobs", "demo", job.ref.name)]
    assert held["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "team"
    assert kubernetes.read(job.ref) == JobStatus(State.SUSPENDED, uid)
    held["spec"]["suspend"] = False
    kube.start_pod(job.ref.name)
    assert kubernetes.read(job.ref) == JobStatus(State.RUNNING, uid)
    held["spec"]["suspend"] = True  # evicted: its Pod is removed
    kube.remove("pods", kube.pod_of(job.ref.name))
    assert kubernetes.read(job.ref) == JobStatus(State.SUSPENDED, uid)
