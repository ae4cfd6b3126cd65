"""What the cluster in memory offers beyond the contract: faults on demand, events, many processes as one cluster."""

from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from support.clusters import stage_job
from support.memory_cluster import MemoryCluster

from functions.cluster.events import Event
from functions.cluster.ports import State, Unavailable
from functions.workflow.model import Outcome, Stage

JOB = stage_job("w")


def test_instant_jobs_have_ended_when_they_are_created() -> None:
    cluster = MemoryCluster(instant=True)
    uid = cluster.create(JOB)
    live = cluster.read(JOB.ref)
    assert (live.state, live.outcome, live.uid) == (State.ENDED, Outcome.SUCCEEDED, uid)


def test_processes_that_share_nothing_see_the_same_instant_cluster() -> None:
    one, other = MemoryCluster(instant=True), MemoryCluster(instant=True)
    uid = one.create(JOB)
    assert other.read(replace(JOB.ref, uid=uid)) == one.read(replace(JOB.ref, uid=uid))
    assert other.create(JOB) == uid


def test_a_job_made_anew_has_another_uid() -> None:
    cluster = MemoryCluster()
    first = cluster.create(JOB)
    cluster.vanish(JOB.ref)
    assert cluster.create(JOB) != first
    assert cluster.created[JOB.ref.name] == 2


def test_a_planned_failure_comes_before_the_call_or_after_it() -> None:
    cluster = MemoryCluster()
    cluster.fail_next("create", Unavailable("down"))
    cluster.fail_next("create", Unavailable("down"), after=True)
    for expected in (0, 1):
        with pytest.raises(Unavailable):
            cluster.create(JOB)
        assert cluster.created[JOB.ref.name] == expected
    assert cluster.create(JOB)
    assert (cluster.calls["create"], cluster.created[JOB.ref.name]) == (3, 1)


def test_a_lingering_job_is_in_the_way_until_it_is_gone() -> None:
    cluster = MemoryCluster(lingering=True)
    cluster.create(JOB)
    assert cluster.delete(JOB.ref) is False
    with pytest.raises(Unavailable):
        cluster.create(JOB)
    cluster.vanish(JOB.ref)
    assert cluster.delete(JOB.ref) is True


def test_a_job_announces_its_creation_its_end_and_its_removal() -> None:
    events: list[Event] = []
    cluster = MemoryCluster(announce=events.append)
    cluster.create(JOB)
    cluster.finish(JOB.ref, 3)
    cluster.delete(JOB.ref)
    told = [(event.headers["ce-kind"], event.headers["ce-type"].rsplit(".", 1)[-1]) for event in events]
    assert told == [("Job", "add"), ("Pod", "update"), ("Job", "update"), ("Job", "delete")]


def test_a_queueing_system_holds_a_job_back_and_lets_it_go() -> None:
    cluster = MemoryCluster()
    cluster.create(JOB)
    cluster.suspend(JOB.ref)
    assert cluster.read(JOB.ref).state is State.SUSPENDED
    cluster.resume(JOB.ref)
    assert cluster.read(JOB.ref).state is State.RUNNING


def test_of_many_that_create_the_same_job_at_once_all_get_the_one() -> None:
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
