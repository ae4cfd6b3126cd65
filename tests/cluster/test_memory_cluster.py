"""The instant cluster of the package, and what the memory cluster of the tests offers beyond the contract."""

from __future__ import annotations

import threading

import pytest
from msgspec.structs import replace
from support.clusters import stage_job
from support.memory_cluster import MemoryCluster

from functions.cluster.events import ApiServerEvent
from functions.cluster.instant import InstantCluster
from functions.cluster.ports import Cluster, ClusterUnavailable, State
from functions.workflow.model import Outcome, Stage

JOB = stage_job("w")


def test_an_instant_job_has_succeeded_when_it_is_created() -> None:
    cluster: Cluster = InstantCluster()
    uid = cluster.create(JOB)
    status = cluster.read(JOB.ref)
    assert (status.state, status.outcome, status.uid) == (State.ENDED, Outcome.SUCCEEDED, uid)


def test_processes_that_share_nothing_see_the_same_instant_cluster() -> None:
    one, other = InstantCluster(), InstantCluster()
    uid = one.create(JOB)
    assert other.read(replace(JOB.ref, uid=uid)) == one.read(replace(JOB.ref, uid=uid))
    assert other.create(JOB) == uid


def test_an_instant_cluster_holds_nothing() -> None:
    cluster: Cluster = InstantCluster()
    cluster.create(JOB)
    assert cluster.delete(JOB.ref) is True
    assert list(cluster.orphans(JOB.ref.namespace, 10)) == []
    assert list(cluster.logs(JOB.ref, 10, 10)) == []
    assert cluster.workflow_object("demo/w") is None


def test_a_job_created_again_after_its_removal_has_another_uid() -> None:
    cluster = MemoryCluster()
    first = cluster.create(JOB)
    cluster.vanish(JOB.ref)
    assert cluster.create(JOB) != first
    assert cluster.created[JOB.ref.name] == 2


def test_a_planned_failure_comes_before_the_call_or_after_it() -> None:
    cluster = MemoryCluster()
    cluster.fail_next("create", ClusterUnavailable("down"))
    cluster.fail_next("create", ClusterUnavailable("down"), after=True)
    for expected in (0, 1):
        with pytest.raises(ClusterUnavailable):
            cluster.create(JOB)
        assert cluster.created[JOB.ref.name] == expected
    assert cluster.create(JOB)
    assert (cluster.calls["create"], cluster.created[JOB.ref.name]) == (3, 1)


def test_a_lingering_job_blocks_its_name_until_it_is_gone() -> None:
    cluster = MemoryCluster(lingering=True)
    cluster.create(JOB)
    assert cluster.delete(JOB.ref) is False
    with pytest.raises(ClusterUnavailable):
        cluster.create(JOB)
    cluster.vanish(JOB.ref)
    assert cluster.delete(JOB.ref) is True


def test_a_job_announces_its_creation_its_end_and_its_removal() -> None:
    events: list[ApiServerEvent] = []
    cluster = MemoryCluster(announce=events.append)
    cluster.create(JOB)
    cluster.finish(JOB.ref, 3)
    cluster.delete(JOB.ref)
    announced = [(event.headers["ce-kind"], event.headers["ce-type"].rsplit(".", 1)[-1]) for event in events]
    assert announced == [("Job", "add"), ("Pod", "update"), ("Job", "update"), ("Job", "delete")]


def test_a_queueing_system_suspends_a_job_and_resumes_it() -> None:
    cluster = MemoryCluster()
    cluster.create(JOB)
    cluster.suspend(JOB.ref)
    assert cluster.read(JOB.ref).state is State.SUSPENDED
    cluster.resume(JOB.ref)
    assert cluster.read(JOB.ref).state is State.RUNNING


def test_eight_threads_that_create_the_same_job_at_once_all_get_one_job() -> None:
    cluster = MemoryCluster()
    gate = threading.Barrier(8)
    uids: list[str] = []

    def create() -> None:
        gate.wait()
        uids.append(cluster.create(stage_job("w", Stage.CONFIGURE)))

    threads = [threading.Thread(target=create) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(uids)) == 1
    assert cluster.created.total() == 1
