"""Jobs that fail: the outcome, the exit code and the reason (F29)."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.clusters import stage_job
from support.fake_kube import FakeKube

from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.ports import JobStatus, StageJob, State
from functions.workflow.model import JobUid, Outcome, Stage

ALGORITHM = stage_job("w", Stage.ALGORITHM)


def drained(kube: FakeKube, job: StageJob) -> str:
    """The Pod of a node that is being emptied; its name."""
    disrupted = [{"type": "DisruptionTarget", "status": "True", "reason": "EvictionByEvictionAPI"}]
    killed = {"terminated": {"exitCode": 143, "reason": "Error"}}
    return kube.pod_state(job.ref.name, killed, "Failed", conditions=disrupted)


def without_times(status: JobStatus) -> JobStatus:
    return replace(status, scheduled=None, prepared=None)


def test_f29_a_program_killed_for_its_memory_has_the_reason_oom_killed(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    pod = kube.terminate(job.ref.name, 137, "OOMKilled")
    status = without_times(kubernetes.read(replace(job.ref, uid=uid), pod))
    assert status == JobStatus(State.ENDED, uid, Outcome.FAILED, 137, "OOMKilled", oom_killed=True)


def test_f29_an_evicted_pod_has_failed_with_the_reason_evicted(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.pod_state(job.ref.name, {"terminated": {"exitCode": 137, "reason": "Error"}}, "Failed", reason="Evicted")
    status = without_times(kubernetes.read(job.ref))
    assert status == JobStatus(State.ENDED, uid, Outcome.FAILED, 137, "Evicted")


def test_f29_a_pod_refused_by_its_node_has_failed_without_an_exit_code(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    pod = kube.objects[("pods", "demo", kube.pod_of(job.ref.name))]
    pod["status"] |= {"phase": "Failed", "reason": "OutOfcpu"}
    assert kubernetes.read(job.ref) == JobStatus(State.ENDED, uid, Outcome.FAILED, None, "OutOfcpu")


def test_f29_a_drained_pod_of_configure_is_replaced_and_does_not_end_its_stage(
    kube: FakeKube, kubernetes: KubernetesCluster
) -> None:
    job = stage_job("w", Stage.CONFIGURE)
    uid = kubernetes.create(job)
    pod = drained(kube, job)
    assert kubernetes.read(replace(job.ref, uid=uid), pod) == JobStatus(State.RUNNING, uid)
    kube.start_pod(job.ref.name)
    kube.terminate(job.ref.name, 0)
    assert kubernetes.read(replace(job.ref, uid=uid), pod).outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize("pod_is_gone", [True, False])
def test_f29_a_drained_algorithm_fails_with_the_reason_disrupted(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, pod_is_gone: bool
) -> None:
    pod = drained(kube, job)
    assert kubernetes.read(replace(job.ref, uid=uid), pod) == JobStatus(
        State.RUNNING, uid
    )  # the Job has not decided yet
    said = f"Pod demo/{pod} has condition DisruptionTarget matching FailJob rule at index 0"
    if pod_is_gone:
        kube.remove("pods", pod)
    kube.job_condition(
        job.ref.name,
        ("FailureTarget", "PodFailurePolicy"),
        ("Failed", "PodFailurePolicy"),
        message=said if pod_is_gone else "",
    )
    assert kubernetes.read(replace(job.ref, uid=uid), pod) == JobStatus(
        State.ENDED, uid, Outcome.FAILED, None, "Disrupted"
    )


def test_f29_after_a_drained_pod_the_reason_of_the_next_pod_counts(
    kube: FakeKube, kubernetes: KubernetesCluster
) -> None:
    job = stage_job("w", Stage.CONFIGURE)
    uid = kubernetes.create(job)
    drained(kube, job)
    kube.start_pod(job.ref.name)
    kube.finish(job.ref.name, 31, message="DataUnavailable: input 0 answered 404")
    status = without_times(kubernetes.read(job.ref))
    assert status == JobStatus(State.ENDED, uid, Outcome.FAILED, 31, "DataUnavailable")


def test_f29_a_job_past_its_deadline_has_timed_out_whatever_its_program_exits_with(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    pod = kube.terminate(job.ref.name, 137)
    kube.objects[("pods", "demo", pod)]["metadata"]["deletionTimestamp"] = kube.now()
    kube.job_condition(job.ref.name, ("FailureTarget", "DeadlineExceeded"), ("Failed", "DeadlineExceeded"))
    status = kubernetes.read(replace(job.ref, uid=uid), pod)
    assert status == JobStatus(State.ENDED, uid, Outcome.TIMED_OUT, None, "DeadlineExceeded")


def test_f29_without_a_pod_the_exit_code_is_read_from_the_job(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.remove("pods", kube.pod_of(job.ref.name))
    said = "Container main for pod demo/x failed with exit code 42 matching FailJob rule at index 1"
    kube.job_condition(
        job.ref.name, ("FailureTarget", "PodFailurePolicy"), ("Failed", "PodFailurePolicy"), message=said
    )
    assert kubernetes.read(job.ref) == JobStatus(State.ENDED, uid, Outcome.FAILED, 42, "Error")


def test_f29_without_pod_and_exit_code_the_reason_of_the_job_counts(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.remove("pods", kube.pod_of(job.ref.name))
    kube.job_condition(job.ref.name, ("FailureTarget", "BackoffLimitExceeded"), ("Failed", "BackoffLimitExceeded"))
    assert kubernetes.read(job.ref) == JobStatus(State.ENDED, uid, Outcome.FAILED, None, "BackoffLimitExceeded")


def test_f29_only_our_own_programs_may_name_their_reason(kube: FakeKube, kubernetes: KubernetesCluster) -> None:
    first, second = stage_job("w", Stage.CONFIGURE), stage_job("w", Stage.ALGORITHM)
    reasons = []
    for each in (first, second):
        kubernetes.create(each)
        kube.terminate(each.ref.name, 31, "Error", "DataUnavailable: input 0 answered 404")
        reasons.append(kubernetes.read(each.ref).reason)
    assert reasons == ["DataUnavailable", "Error"]
