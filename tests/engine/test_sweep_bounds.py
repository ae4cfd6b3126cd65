"""A sweep is bounded in time, and gives way when what it needs is away: a tick must not outlive the next ones."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest
from support.memory_cluster import MemoryCluster
from support.world import ENVIRONMENT, World, environment

from functions.advance import notifications
from functions.advance import sweep as sweeping
from functions.advance.sweep import BATCH, BUDGET, MAX_UNAVAILABLE, sweep
from functions.cluster.ports import ClusterUnavailable, JobRef, JobStatus, StageJob
from functions.engine.app import App
from functions.engine.transitions import Transitions
from functions.store.ports import StoreUnavailable
from functions.store.values import Outgoing
from functions.workflow.model import JobUid, WorkflowId

MINUTE = timedelta(minutes=1)


def crowd(world: World, count: int) -> list[WorkflowId]:
    """So many workflows that run and are due for a look."""
    workflows = [world.submit() for _ in range(count)]
    world.clock.now += MINUTE
    return workflows


def count_reads(
    world: World, monkeypatch: pytest.MonkeyPatch, seconds: float, error: Exception | None = None
) -> list[Any]:
    """Every read of a Job takes so long from now on, and ends with the error if there is one."""
    read, asked = MemoryCluster.read, list[Any]()

    def slow(cluster: MemoryCluster, ref: JobRef, pod: str | None = None) -> JobStatus:
        asked.append(ref.workflow)
        world.clock.sleep(seconds)
        if error is not None:
            raise error
        return read(cluster, ref, pod)

    monkeypatch.setattr(MemoryCluster, "read", slow)
    return asked


def test_a_cluster_that_is_away_is_asked_a_few_times_and_not_for_every_workflow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(max_jobs=100)
    crowd(world, 100)
    asked = count_reads(world, monkeypatch, 3, ClusterUnavailable("away"))
    assert sweep(world.app)["postponed"] == MAX_UNAVAILABLE
    assert len(asked) == MAX_UNAVAILABLE


def test_a_sweep_begins_nothing_new_when_its_time_is_over_and_the_next_one_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(max_jobs=100)
    workflows = crowd(world, 30)
    asked = count_reads(world, monkeypatch, 4)
    began = world.clock.now
    sweep(world.app)
    assert len(asked) == 10
    assert world.clock.now <= began + BUDGET
    for _ in range(2):
        world.clock.now += MINUTE
        sweep(world.app)
    assert set(asked) == set(workflows)


def test_no_workflow_is_looked_at_twice_in_one_sweep(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(max_jobs=200)
    workflows = crowd(world, 2 * BATCH)
    monkeypatch.setattr(sweeping, "BUDGET", timedelta(hours=1))
    asked = count_reads(world, monkeypatch, 1)  # each batch takes longer than its claim
    sweep(world.app)
    assert sorted(asked) == sorted(workflows)


def test_a_workflow_that_somebody_holds_does_not_keep_the_sweep_from_the_others(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World(max_jobs=10)
    held, *others = crowd(world, 4)
    asked, apply = list[Any](), Transitions.apply

    def waiting(transitions: Transitions, workflow: WorkflowId, *rest: Any) -> Any:
        if workflow == held:
            raise StoreUnavailable("the database cannot do it now (SQLSTATE 55P03)")
        asked.append(workflow)
        return apply(transitions, workflow, *rest)

    monkeypatch.setattr(Transitions, "apply", waiting)
    assert sweep(world.app)["postponed"] == 1
    assert sorted(asked) == sorted(others)


def test_a_workflow_admitted_at_the_end_of_a_sweep_is_started_by_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(max_jobs=0)
    workflows = [world.submit() for _ in range(30)]
    world.app.environments = {ENVIRONMENT: environment(max_jobs=100)}
    create = MemoryCluster.create

    def slow(cluster: MemoryCluster, job: StageJob) -> JobUid:
        world.clock.sleep(4)
        return create(cluster, job)

    monkeypatch.setattr(MemoryCluster, "create", slow)
    began = world.clock.now
    assert sweep(world.app)["admitted"] == 30
    assert world.clock.now <= began + BUDGET
    for _ in range(3):
        world.clock.now += MINUTE
        sweep(world.app)
    assert sorted(ref.workflow for ref in world.cluster.running()) == sorted(workflows)


def test_one_sweep_delivers_more_than_a_batch_of_notifications(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(max_jobs=200)
    world.app.settings = dataclasses.replace(world.app.settings, notify_start_url="https://told.example/")
    for _ in range(BATCH + 10):
        world.submit()
    told: list[WorkflowId] = []

    def taken(_app: App, event: Outgoing) -> bool:
        told.append(event.workflow)
        return True

    monkeypatch.setattr(notifications, "deliver", taken)
    assert sweep(world.app)["events delivered"] == BATCH + 10
    assert len(set(told)) == BATCH + 10
