"""The clusters that the contract runs on. To add one, write a Driver (support/clusters.py) and list it in DRIVERS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import pytest
from support.clusters import Driver, FakeKubeDriver, MemoryDriver, RealKubeDriver, stage_job
from support.fake_kube import FakeKube
from support.processes import ProcessDriver

from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.ports import StageJob
from functions.settings import Settings
from functions.workflow.model import JobUid, Stage


@pytest.fixture(scope="session")
def real_namespace() -> Iterator[tuple[str, Settings]]:
    """A namespace of the cluster of SLUICE_TEST_KUBECONFIG, removed afterwards; image from SLUICE_TEST_IMAGE."""
    from functions.cluster.kubernetes.client import Api, access

    kubeconfig = os.environ.get("SLUICE_TEST_KUBECONFIG")
    if not kubeconfig:
        pytest.skip("SLUICE_TEST_KUBECONFIG is not set")
    settings = Settings(
        kubeconfig=kubeconfig,
        image=os.environ.get("SLUICE_TEST_IMAGE", "sluice:latest"),
        results_url=os.environ.get("SLUICE_TEST_RESULTS_URL", ""),
    )
    name = f"sluice-test-{uuid4().hex[:8]}"
    api = Api(access(kubeconfig), 4)
    metadata = {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    api.post("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
    try:
        yield name, settings
    finally:
        api.delete(f"/api/v1/namespaces/{name}", {})


DRIVERS: dict[str, Callable[[pytest.FixtureRequest], Driver]] = {
    "memory": lambda request: MemoryDriver(),
    "kubernetes": lambda request: FakeKubeDriver(request.getfixturevalue("tmp_path")),
    "processes": lambda request: ProcessDriver(request.getfixturevalue("tmp_path")),
    "cluster": lambda request: RealKubeDriver(*request.getfixturevalue("real_namespace")),
}


@pytest.fixture(params=[pytest.param(name, marks=[pytest.mark.cluster] * (name == "cluster")) for name in DRIVERS])
def cluster_under_test(request: pytest.FixtureRequest) -> Iterator[Driver]:
    driver = DRIVERS[request.param](request)
    try:
        yield driver
    finally:
        driver.close()


@pytest.fixture
def kube() -> Iterator[FakeKube]:
    fake = FakeKube()
    try:
        yield fake
    finally:
        fake.close()


@pytest.fixture
def kubernetes(kube: FakeKube, tmp_path: Path) -> KubernetesCluster:
    """The adapter for Kubernetes, on the fake API `kube`."""
    return KubernetesCluster(Settings(kubeconfig=kube.kubeconfig(tmp_path)))


@pytest.fixture
def job(kubernetes: KubernetesCluster) -> StageJob:
    """An algorithm's Job that can be created, because its volume exists."""
    kubernetes.create(stage_job("w", Stage.CONFIGURE))
    return stage_job("w", Stage.ALGORITHM)


@pytest.fixture
def uid(job: StageJob, kubernetes: KubernetesCluster) -> JobUid:
    """The UID of that Job, created."""
    return kubernetes.create(job)
