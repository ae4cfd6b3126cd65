"""The tick follows the work: its three levels, in virtual time."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from support.death import Died, Fate, Mortal, MortalStore
from support.world import World

from functions.advance.sweep import sweep
from functions.cluster.ports import ClusterUnavailable
from functions.engine.app import App
from functions.store.values import Query, Tick
from functions.workflow.codes import Code
from functions.workflow.model import Outcome, Stage, WorkflowId
from functions.workflow.tick import FAST_PERIOD, SLOW_PERIOD, TickLevel

HOUR = 3600.0
LATE = timedelta(seconds=20)
STARTS = (0, 47, 100, 333, 590)  # seconds after a slow tick


def levels(world: World) -> tuple[TickLevel, TickLevel, TickLevel]:
    """What the record needs, what it says that the cluster was told, and what the cluster has."""
    with world.app.store.begin() as tx:
        tick = tx.lock_tick()
    return tick.level, tick.applied, world.cluster.tick


def algorithm_runs(world: World) -> WorkflowId:
    """A workflow whose algorithm's container has started."""
    w = world.reached(Stage.ALGORITHM)
    world.cluster.begin(world.job(w), world.clock())
    return w


def test_an_idle_day_has_24_wakes_and_no_call_to_the_cluster() -> None:
    world = World()
    world.pass_time(24 * HOUR)
    assert world.wakes <= 24
    assert world.cluster.calls["set_tick"] == 0


@pytest.mark.parametrize("start", STARTS)
def test_an_algorithm_of_six_hours_has_at_most_60_wakes(start: int) -> None:
    world = World(max_job_duration=24 * 3600)
    world.clock.sleep(start)
    announced = 0

    def deliver() -> None:
        nonlocal announced
        announced += len(world.events)
        world.deliver()

    w = algorithm_runs(world)
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
    algorithm_runs(world)
    world.pass_time(1800, hourly=False)
    assert levels(world)[0] is TickLevel.SLOW
    calls = world.cluster.calls["set_tick"]
    world.pass_time(6 * HOUR, hourly=False)
    assert world.cluster.calls["set_tick"] == calls == 3  # fast, medium, slow


def test_a_stage_that_begins_while_the_tick_is_slow_makes_it_fast() -> None:
    world = World(max_job_duration=24 * 3600)
    w = algorithm_runs(world)
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


def test_a_tick_that_cannot_be_made_fast_now_is_made_fast_by_the_next_slow_one() -> None:
    world = World(max_job_duration=24 * 3600)
    w = algorithm_runs(world)
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
    algorithm_runs(world)
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


@pytest.mark.parametrize("events", [True, False], ids=["with events", "without"])
@pytest.mark.parametrize("duration", [120, 1000, 1500, 7200])
def test_a_deadline_is_told_within_20_seconds(duration: int, events: bool) -> None:
    world = World(max_job_duration=duration)
    w = algorithm_runs(world)
    true_at = world.clock() + timedelta(seconds=duration)
    while world.state(w).stage is Stage.ALGORITHM:
        world.pass_time(1)
        if events:
            world.deliver()
        world.events.clear()
    assert timedelta() <= world.clock() - true_at <= LATE
    ended = {attempt.stage: attempt.end for attempt in world.app.store.attempts(w)}[Stage.ALGORITHM]
    assert ended is not None
    assert ended.outcome is Outcome.TIMED_OUT


@pytest.mark.parametrize("patience", [60, 700, 2000])
def test_a_pod_that_waits_for_too_long_is_told_within_20_seconds(patience: int) -> None:
    world = World(stuck_seconds=patience)
    w = world.reached(Stage.ALGORITHM)
    world.pass_time(3)
    since = world.clock()
    world.cluster.stick(world.job(w), "ImagePullBackOff", since)
    while world.state(w).stage is Stage.ALGORITHM:
        world.pass_time(1)
    assert timedelta() <= world.clock() - since - timedelta(seconds=patience) <= LATE


def test_an_image_that_does_not_exist_is_told_within_20_seconds_after_ten() -> None:
    world = World()
    w = world.reached(Stage.ALGORITHM)
    world.pass_time(2)
    since = world.clock()
    world.cluster.stick(world.job(w), "ErrImagePull", since, definitive=True)
    while world.state(w).stage is Stage.ALGORITHM:
        world.pass_time(1)
    assert timedelta(seconds=10) <= world.clock() - since <= timedelta(seconds=10) + LATE


def test_a_workflow_that_waits_in_the_queue_ends_within_20_seconds_of_its_time() -> None:
    world = World(max_jobs=0, queue_seconds=7200)
    w = world.submit()
    end = world.clock() + timedelta(seconds=7200)
    while not world.state(w).finished:
        world.pass_time(1)
    assert timedelta() <= world.clock() - end <= LATE


@pytest.mark.parametrize("start", STARTS)
@pytest.mark.parametrize("runs", [5, 60, 110, 200, 240, 300, 400, 500, 600, 1200, 7200])
def test_a_lost_event_delays_a_stage_by_about_its_own_time(runs: int, start: int) -> None:
    world = World(max_job_duration=24 * 3600)
    world.clock.sleep(start)
    w = algorithm_runs(world)
    world.pass_time(runs)
    world.end_job(w)
    world.events.clear()
    ended = world.clock()
    while world.state(w).stage is Stage.ALGORITHM:
        world.pass_time(1)
    ran = timedelta(seconds=runs)
    assert world.clock() - ended <= max(timedelta(seconds=30), min(1.25 * ran, SLOW_PERIOD + timedelta(seconds=90)))


def test_the_tick_is_lowered_in_the_record_first_and_in_the_cluster_by_the_next_one() -> None:
    world = World()
    world.run(world.submit())
    sweep(world.app, TickLevel.FAST)
    assert levels(world) == (TickLevel.NONE, TickLevel.FAST, TickLevel.FAST)
    sweep(world.app, TickLevel.FAST)
    assert levels(world) == (TickLevel.NONE,) * 3


def test_a_stage_that_begins_between_the_two_steps_keeps_the_fast_tick_without_a_call() -> None:
    world = World(max_job_duration=24 * 3600)
    w = algorithm_runs(world)
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
