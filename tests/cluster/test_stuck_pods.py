"""Pods that wait for something that may never come (F28, F31)."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from msgspec.structs import replace
from support.clusters import stage_job
from support.fake_kube import FakeKube

from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.ports import JobStatus, StageJob, State
from functions.workflow.model import JobUid, Stage

ALGORITHM = stage_job("w", Stage.ALGORITHM)


@pytest.mark.parametrize(
    "reason", ["ImagePullBackOff", "ErrImagePull", "InvalidImageName", "CreateContainerConfigError"]
)
@pytest.mark.parametrize("by_pod", [True, False])
def test_f28_a_pod_with_a_fatal_waiting_reason_is_stuck_since_it_was_scheduled(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, reason: str, by_pod: bool
) -> None:
    pod = kube.pod_state(job.ref.name, {"waiting": {"reason": reason}}, "Pending")
    status = kubernetes.read(replace(job.ref, uid=uid), pod if by_pod else None)
    assert (status.state, status.reason, status.uid) == (State.STUCK, reason, uid)
    assert status.since is not None
    assert status.since.tzinfo == UTC


def test_f28_an_unschedulable_pod_is_stuck(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": kube.now()}
    pod = kube.objects[("pods", "demo", kube.pod_of(job.ref.name))]
    pod["status"] |= {"conditions": [condition]}
    status = kubernetes.read(job.ref)
    assert (status.state, status.reason) == (State.STUCK, "Unschedulable")


def test_f28_a_pod_whose_image_is_being_pulled_is_not_stuck(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    ready = [{"type": "PodReadyToStartContainers", "status": "True", "lastTransitionTime": kube.now()}]
    kube.pod_state(job.ref.name, {"waiting": {"reason": "ContainerCreating"}}, "Pending", conditions=ready)
    assert kubernetes.read(job.ref).state is State.RUNNING


def test_f28_a_running_pod_whose_network_is_gone_is_not_stuck(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    gone = [{"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": kube.now()}]
    kube.pod_state(job.ref.name, {"running": {"startedAt": kube.now()}}, "Running", conditions=gone)
    assert kubernetes.read(job.ref).state is State.RUNNING


def test_f28_a_job_that_never_had_a_pod_is_stuck_since_its_start(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    kube.remove("pods", kube.pod_of(job.ref.name))
    held = kube.objects[("jobs", "demo", job.ref.name)]
    held["status"] = {"startTime": "2026-11-22T02:29:57Z", "active": 0, "terminating": 0, "uncountedTerminatedPods": {}}
    since = datetime(2026, 11, 22, 2, 29, 57, tzinfo=UTC)
    assert kubernetes.read(replace(job.ref, uid=uid)) == JobStatus(State.STUCK, uid, reason="NoPod", since=since)


@pytest.mark.parametrize(
    "status",
    [
        {},  # the Job controller has not seen it yet
        {"startTime": "2026-11-22T02:29:57Z", "active": 1},
        {"startTime": "2026-11-22T02:29:57Z", "terminating": 1},
        {"startTime": "2026-11-22T02:29:57Z", "failed": 1},
        {"startTime": "2026-11-22T02:29:57Z", "uncountedTerminatedPods": {"failed": ["x"]}},
    ],
)
def test_f28_a_job_that_counts_a_pod_is_not_stuck(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, status: dict[str, object]
) -> None:
    kube.remove("pods", kube.pod_of(job.ref.name))
    kube.objects[("jobs", "demo", job.ref.name)]["status"] = status
    assert kubernetes.read(replace(job.ref, uid=uid)) == JobStatus(State.RUNNING, uid)


def test_f31_a_pod_whose_claim_cannot_be_mounted_is_stuck(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid
) -> None:
    since = datetime(2026, 11, 22, 2, 29, 57, tzinfo=UTC)
    waits = [{"type": "PodReadyToStartContainers", "status": "False", "lastTransitionTime": "2026-11-22T02:29:57Z"}]
    kube.pod_state(job.ref.name, {"waiting": {"reason": "ContainerCreating"}}, "Pending", conditions=waits)
    assert kubernetes.read(job.ref) == JobStatus(State.STUCK, uid, reason="FailedMount", since=since)


@pytest.mark.parametrize("by_pod", [True, False])
def test_a_running_container_tells_its_start_time(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, by_pod: bool
) -> None:
    pod = kube.pod_state(job.ref.name, {"running": {"startedAt": "2026-11-22T02:29:57Z"}})
    since = datetime(2026, 11, 22, 2, 29, 57, tzinfo=UTC)
    status = kubernetes.read(replace(job.ref, uid=uid), pod if by_pod else None)
    assert status == JobStatus(State.RUNNING, uid, since=since)
