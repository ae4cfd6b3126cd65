"""The clusters that the contract runs on. To add one, write a Driver (support/clusters.py) and list it in DRIVERS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.clusters import Driver, FakeKubeDriver, MemoryDriver, RealKubeDriver, stage_job
from support.fake_kube import FakeKube
from support.processes import ProcessDriver
from support.real_cluster import RealCluster, real_cluster

from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.ports import StageJob
from functions.settings import Settings
from functions.workflow.model import JobUid, Stage


@pytest.fixture(scope="session")
def real() -> Iterator[RealCluster]:
    """A namespace of the cluster of SLUICE_TEST_KUBECONFIG; see CONTRIBUTING.md."""
    kubeconfig = os.environ.get("SLUICE_TEST_KUBECONFIG")
    if not kubeconfig:
        pytest.skip("SLUICE_TEST_KUBECONFIG is not set")
    with real_cluster(kubeconfig) as made:
        yield made


DRIVERS: dict[str, Callable[[pytest.FixtureRequest], Driver]] = {
    "memory": lambda request: MemoryDriver(),
    "kubernetes": lambda request: FakeKubeDriver(request.getfixturevalue("tmp_path")),
    "processes": lambda request: ProcessDriver(request.getfixturevalue("tmp_path")),
    "cluster": lambda request: RealKubeDriver(request.getfixturevalue("real")),
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
