"""When the tick is raised and lowered, what it costs, and what happens if the cluster does not answer."""

from __future__ import annotations

from contextlib import suppress

import pytest
from support.death import Died, Fate, Mortal, MortalStore
from support.world import AFTER_A_SLOW_TICK, World

from functions.advance.sweep import sweep
from functions.cluster.ports import ClusterUnavailable
from functions.engine.app import App
from functions.store.values import Query, Tick
from functions.workflow.codes import Code
from functions.workflow.model import Stage, WorkflowId
from functions.workflow.tick import FAST_PERIOD, SLOW_PERIOD, TickLevel

HOUR = 3600.0


def levels(world: World) -> tuple[TickLevel, TickLevel, TickLevel]:
    """What the record needs, what it says that the cluster was told, and what the cluster has."""
    with world.app.store.begin() as tx:
        tick = tx.lock_tick()
    return tick.level, tick.applied, world.cluster.tick


def test_an_idle_day_has_24_wakes_and_no_call_to_the_cluster() -> None:
    world = World()
    world.pass_time(24 * HOUR)
    assert world.wakes <= 24
    assert world.cluster.calls["set_tick"] == 0


@pytest.mark.parametrize("start", AFTER_A_SLOW_TICK)
def test_an_algorithm_of_six_hours_has_at_most_60_wakes(start: int) -> None:
    world = World(max_job_duration=24 * 3600)
    world.clock.sleep(start)
    announced = 0

    def deliver() -> None:
        nonlocal announced
        announced += len(world.events)
        world.deliver()

    w = world.with_running_algorithm()
    world.pass_time(6 * HOUR)
    world.end_job(w)
    deliver()
    world.pass_time(5)
    world.end_job(w)
    deliver()
    world.pass_time(2 * FAST_PERIOD.total_seconds())
    assert world.state(w).status == Code.FINISHED
    print(f"\nsix hours: {world.wakes} ticks, {announced} events after the start")
    assert world.wakes + announced <= 60
    assert levels(world) == (TickLevel.NONE,) * 3


def test_the_first_submission_creates_the_tick_and_further_ones_cost_no_call() -> None:
    world = World()
    world.submit()
    assert levels(world) == (TickLevel.FAST,) * 3
    for _ in range(3):
        world.submit()
    assert world.cluster.calls["set_tick"] == 1


def test_the_tick_is_deleted_when_the_last_workflow_is_finished() -> None:
    world = World()
    world.run(world.submit())
    world.pass_time(2 * FAST_PERIOD.total_seconds())
    assert levels(world) == (TickLevel.NONE,) * 3
    assert world.cluster.calls["set_tick"] == 2


def test_a_level_that_stays_costs_no_call() -> None:
    world = World(max_job_duration=24 * 3600)
    world.with_running_algorithm()
    world.pass_time(1800, hourly=False)
    assert levels(world)[0] is TickLevel.SLOW
    calls = world.cluster.calls["set_tick"]
    world.pass_time(6 * HOUR, hourly=False)
    assert world.cluster.calls["set_tick"] == calls == 3  # fast, medium, slow


def test_a_stage_that_begins_while_the_tick_is_slow_makes_it_fast() -> None:
    world = World(max_job_duration=24 * 3600)
    w = world.with_running_algorithm()
    world.pass_time(HOUR)
    assert world.cluster.tick is TickLevel.SLOW
    world.end_job(w)
    world.deliver()
    assert world.state(w).stage is Stage.PUBLISH
    assert levels(world) == (TickLevel.FAST,) * 3


def test_a_submission_that_cannot_create_the_tick_is_refused_and_leaves_nothing() -> None:
    world = World()
    world.cluster.fail_next("set_tick", ClusterUnavailable("down"))
    with pytest.raises(ClusterUnavailable):
        world.submit()
    assert world.app.store.find(Query()) == []
    world.submit()
    assert levels(world) == (TickLevel.FAST,) * 3


def test_a_submission_is_refused_if_the_tick_may_be_gone_and_cannot_be_created() -> None:
    """The record was lowered to none, and the cluster was not told yet: whether it has a tick is not known."""
    world = World()
    with world.app.store.begin() as tx:
        tx.lock_tick()
        tx.save_tick(Tick(TickLevel.NONE, TickLevel.SLOW))
    world.cluster.fail_next("set_tick", ClusterUnavailable("down"))
    with pytest.raises(ClusterUnavailable):
        world.submit()


def test_a_tick_that_cannot_be_made_fast_now_is_made_fast_by_the_next_slow_one() -> None:
    world = World(max_job_duration=24 * 3600)
    w = world.with_running_algorithm()
    world.pass_time(HOUR)
    world.cluster.fail_next("set_tick", ClusterUnavailable("down"))
    world.end_job(w)
    world.deliver()
    assert levels(world) == (TickLevel.FAST, TickLevel.SLOW, TickLevel.SLOW)
    world.pass_time(SLOW_PERIOD.total_seconds())
    assert levels(world) == (TickLevel.FAST,) * 3


def test_a_tick_that_cannot_be_deleted_now_is_deleted_by_the_next_one() -> None:
    world = World()
    world.run(world.submit())
    world.cluster.fail_next("set_tick", ClusterUnavailable("down"), times=2)
    world.pass_time(4 * FAST_PERIOD.total_seconds())
    assert levels(world) == (TickLevel.NONE,) * 3


def test_a_tick_that_the_record_does_not_know_is_corrected_by_its_own_sweep() -> None:
    world = World()
    world.cluster.tick = TickLevel.FAST  # as after a death between its creation and the commit
    world.pass_time(FAST_PERIOD.total_seconds())
    assert levels(world) == (TickLevel.NONE,) * 3


def test_a_tick_that_somebody_deletes_is_created_again_within_the_hour() -> None:
    world = World(max_job_duration=24 * 3600)
    world.with_running_algorithm()
    world.cluster.tick = TickLevel.NONE
    world.pass_time(HOUR)
    assert world.cluster.tick is not TickLevel.NONE


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_tick_is_never_put_to_sleep_beside_a_submission_wherever_a_process_dies(after: bool) -> None:
    """F43: a sweep is about to delete the tick, and dies or not at any call; then somebody submits."""
    for at in range(1, 40):
        world = World()
        world.run(world.submit())
        sweep(world.app, TickLevel.FAST)  # the next sweep deletes the tick
        fate = Fate(at, after)
        dying = App(
            world.app.settings,
            clock=world.clock,
            environments=world.app.environments,
            store=MortalStore(world.app.store, fate, "store"),
            cluster=Mortal(world.cluster, fate, "cluster"),
            storage=world.storage,
        )
        with suppress(Died):
            sweep(dying, TickLevel.FAST)
        w = world.submit()
        assert world.cluster.tick is TickLevel.FAST, fate.calls
        world.events.clear()
        world.end_job(w)
        world.events.clear()
        world.pass_time(60)
        assert world.state(w).stage is Stage.ALGORITHM
    assert len(fate.calls) < 40


def test_a_submission_between_the_two_steps_of_putting_the_tick_to_sleep_keeps_it() -> None:
    world = World()
    world.run(world.submit())
    sweep(world.app, TickLevel.FAST)
    control, applying = world.app.transitions.tick, world.app.transitions.tick._apply
    submitted: list[WorkflowId] = []

    def submit_first() -> None:
        submitted.append(world.submit())
        applying()

    control._apply = submit_first  # type: ignore[method-assign]
    sweep(world.app, TickLevel.FAST)
    assert submitted
    assert levels(world) == (TickLevel.FAST,) * 3


def test_the_tick_is_lowered_in_the_record_first_and_in_the_cluster_by_the_next_one() -> None:
    world = World()
    world.run(world.submit())
    sweep(world.app, TickLevel.FAST)
    assert levels(world) == (TickLevel.NONE, TickLevel.FAST, TickLevel.FAST)
    sweep(world.app, TickLevel.FAST)
    assert levels(world) == (TickLevel.NONE,) * 3


def test_a_stage_that_begins_between_the_two_steps_keeps_the_fast_tick_without_a_call() -> None:
    world = World(max_job_duration=24 * 3600)
    w = world.with_running_algorithm()
    while levels(world)[0] is TickLevel.FAST:
        world.pass_time(FAST_PERIOD.total_seconds())
    assert levels(world) == (TickLevel.MEDIUM, TickLevel.FAST, TickLevel.FAST)
    world.end_job(w)
    world.deliver()
    assert world.state(w).stage is Stage.PUBLISH
    assert levels(world) == (TickLevel.FAST,) * 3
    assert world.cluster.calls["set_tick"] == 1


def test_a_sweep_by_hand_leaves_the_level_as_it_is() -> None:
    world = World()
    world.run(world.submit())
    for _ in range(3):
        sweep(world.app)
    assert levels(world) == (TickLevel.FAST,) * 3


def test_the_hourly_tick_finds_work_for_which_nobody_raised_the_tick() -> None:
    """Such as a workflow that operator-service inserts while it is being replaced."""
    world = World()
    world.submit()
    with world.app.store.begin() as tx:
        tx.save_tick(Tick(TickLevel.NONE, TickLevel.NONE))
    world.cluster.tick = TickLevel.NONE
    world.pass_time(HOUR)
    assert levels(world)[0] is not TickLevel.NONE
    assert len(set(levels(world))) == 1
