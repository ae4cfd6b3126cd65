"""Errors of the Kubernetes API are never taken for an answer (F24, F26)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.clusters import stage_job
from support.fake_kube import FakeKube, Fault

from functions.cluster.kubernetes import client
from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.ports import ClusterUnavailable, StageJob
from functions.settings import Settings
from functions.workflow.model import JobUid, Stage

ALGORITHM = stage_job("w", Stage.ALGORITHM)


def test_f24_a_call_without_an_answer_times_out(
    kube: FakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "READ_SECONDS", 0.05)
    impatient = KubernetesCluster(Settings(kubeconfig=kube.kubeconfig(tmp_path)))
    kube.fail_next("get", "jobs", Fault(-1))
    with pytest.raises(ClusterUnavailable, match="does not answer"):
        impatient.read(ALGORITHM.ref)


def test_an_unreachable_api_is_unavailable(tmp_path: Path) -> None:
    fake = FakeKube()
    cluster = KubernetesCluster(Settings(kubeconfig=fake.kubeconfig(tmp_path)))
    fake.close()
    with pytest.raises(ClusterUnavailable, match="does not answer"):
        cluster.read(ALGORITHM.ref)


@pytest.mark.parametrize(
    ("fault", "seconds"),
    [
        (Fault(429, headers={"Retry-After": "17"}), 17),
        (Fault(429), 5),
        (Fault(503, headers={"Retry-After": "2"}), 2),
        (Fault(503, headers={"Retry-After": "\xb2"}), 5),  # a digit to Python, no number
        (Fault(503, headers={"Retry-After": "9" * 5000}), 5),
        (Fault(503, headers={"Retry-After": "86400"}), 60),
        (Fault(503, headers={"Retry-After": "Fri, 27 Nov 2026 07:00:00 GMT"}), 5),
    ],
)
def test_f26_a_throttled_call_names_the_time_to_wait(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, fault: Fault, seconds: int
) -> None:
    kube.fail_next("create", "jobs", fault)
    with pytest.raises(ClusterUnavailable) as later:
        kubernetes.create(job)
    assert later.value.retry_after == seconds


@pytest.mark.parametrize("verb", ["get", "delete", "list"])
@pytest.mark.parametrize("fault", [Fault(500), Fault(401), Fault(0)])
def test_f26_no_method_takes_an_error_for_an_answer(
    kube: FakeKube, kubernetes: KubernetesCluster, job: StageJob, uid: JobUid, verb: str, fault: Fault
) -> None:
    for resource in ("jobs", "pods", "configmaps"):
        kube.fail_next(verb, resource, fault)
    with pytest.raises(ClusterUnavailable):
        kubernetes.delete(replace(job.ref, uid=uid)) if verb == "delete" else kubernetes.read(job.ref)


@pytest.mark.parametrize(
    ("verb", "resource"), [("get", "jobs"), ("list", "pods"), ("delete", "jobs"), ("get", "pods/log")]
)
def test_f26_a_missing_right_is_unavailable_and_the_log_names_it(
    kube: FakeKube,
    kubernetes: KubernetesCluster,
    job: StageJob,
    uid: JobUid,
    verb: str,
    resource: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    kube.fail_next(verb, resource, Fault(403, f'{resource} is forbidden: User "x" cannot {verb}'))
    ref = replace(job.ref, uid=uid)
    calls: dict[str, Callable[[], object]] = {
        "get jobs": lambda: kubernetes.read(ref),
        "list pods": lambda: kubernetes.read(ref),
        "delete jobs": lambda: kubernetes.delete(ref),
        "get pods/log": lambda: list(kubernetes.logs(ref, 10, 10)),
    }
    with pytest.raises(ClusterUnavailable, match="forbids it"):
        calls[f"{verb} {resource}"]()
    told = [vars(logged)["fields"] for logged in caplog.records if "refused a call" in logged.message]
    assert told == [{"verb": verb, "resource": resource, "namespace": "demo"}]
