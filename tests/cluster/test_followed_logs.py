"""A log is followed while its Job runs, on Kubernetes and on the laptop."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.clusters import stage_job
from support.fake_kube import FakeKube

from functions.cluster.job_folder import write_atomically
from functions.cluster.kubernetes import followed_body
from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.ports import ClusterUnavailable, JobRef
from functions.cluster.processes import ProcessCluster
from functions.settings import Settings
from functions.workflow.model import Outcome, Stage


@pytest.fixture
def kube() -> Iterator[FakeKube]:
    with closing(FakeKube()) as made:
        yield made


@pytest.fixture
def cluster(kube: FakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KubernetesCluster:
    monkeypatch.setattr(followed_body, "SILENCE", 0.01)
    return KubernetesCluster(Settings(kubeconfig=kube.kubeconfig(tmp_path)))


@pytest.fixture
def ref(cluster: KubernetesCluster) -> JobRef:
    """A Job whose container may start."""
    job = stage_job("w", Stage.CONFIGURE)
    return replace(job.ref, uid=cluster.create(job))


def followers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "follow-log"]


def test_what_a_pod_prints_arrives_before_its_end(kube: FakeKube, cluster: KubernetesCluster, ref: JobRef) -> None:
    kube.logs[ref.name] = b"one\n"
    log = (chunk for chunk in cluster.follow(ref, 0) if chunk)
    assert next(log) == b"one\n"
    kube.logs[ref.name] += b"two\n"
    assert next(log) == b"two\n"
    kube.finish(ref.name)
    assert list(log) == []


def test_a_silent_pod_is_followed_with_signs_of_life(kube: FakeKube, cluster: KubernetesCluster, ref: JobRef) -> None:
    log = cluster.follow(ref, 0)
    assert [next(log), next(log), next(log)] == [b"", b"", b""]
    log.close()  # type: ignore[attr-defined]


def test_closing_ends_the_call_and_its_thread(kube: FakeKube, cluster: KubernetesCluster, ref: JobRef) -> None:
    kube.logs[ref.name] = b"x"
    log = cluster.follow(ref, 0)
    assert next(log) == b""
    assert followers() == []
    assert next(log) == b"x"
    assert followers()
    log.close()  # type: ignore[attr-defined]
    assert followers() == []
    kube.logs[ref.name] = b"more" * (1 << 20)  # the server notices when it writes
    assert kube.followed.wait(20)


def test_a_log_that_the_kubelet_has_rotated_is_followed_from_its_beginning(
    kube: FakeKube, cluster: KubernetesCluster, ref: JobRef
) -> None:
    kube.logs[ref.name] = b"new\n"
    kube.finish(ref.name)
    assert b"".join(cluster.follow(ref, 100)) == b"new\n"


def test_a_connection_that_breaks_raises(kube: FakeKube, cluster: KubernetesCluster, ref: JobRef) -> None:
    log = cluster.follow(ref, 0)
    next(log), next(log)
    kube.close()
    with pytest.raises(ClusterUnavailable):
        list(log)


def test_a_log_on_the_laptop_is_followed_until_its_job_has_ended(tmp_path: Path) -> None:
    job = stage_job("w")
    home = tmp_path / "demo" / "w"
    (home / "data" / "logs").mkdir(parents=True)
    log_file = home / "data" / "logs" / "algorithm.log"
    log_file.write_bytes(b"one\n")
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        """Between two looks the program prints, and then ends."""
        pauses.append(seconds)
        if len(pauses) == 1:
            log_file.write_bytes(b"one\ntwo\n")
        else:
            log_file.write_bytes(b"one\ntwo\nthree")
            end = b'{"outcome": "%s"}' % Outcome.SUCCEEDED.encode()
            write_atomically(home / "algorithm-1" / "end.json", end)

    cluster = ProcessCluster(tmp_path, pause=pause)
    cluster.create(job)
    assert list(cluster.follow(job.ref, 0)) == [b"", b"one\n", b"", b"two\n", b"", b"three"]


def test_a_link_in_place_of_the_log_is_not_followed(tmp_path: Path) -> None:
    cluster, job = ProcessCluster(tmp_path), stage_job("w")
    cluster.create(job)
    logs = tmp_path / "demo" / "w" / "data" / "logs"
    logs.mkdir(parents=True)
    (tmp_path / "secret").write_text("secret")
    (logs / "algorithm.log").symlink_to(tmp_path / "secret")
    assert list(cluster.follow(job.ref, 0)) == []
