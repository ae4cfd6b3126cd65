"""How late a sweep notices what no event announced: the ticks come in time for it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.world import AFTER_A_SLOW_TICK, World

from functions.workflow.model import Outcome, Stage
from functions.workflow.tick import SLOW_PERIOD

LATE = timedelta(seconds=20)


@pytest.mark.parametrize("events", [True, False], ids=["with events", "without"])
@pytest.mark.parametrize("duration", [120, 1000, 1500, 7200])
def test_a_deadline_is_told_within_20_seconds(duration: int, events: bool) -> None:
    world = World(max_job_duration=duration)
    w = world.with_running_algorithm()
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


@pytest.mark.parametrize("start", AFTER_A_SLOW_TICK)
@pytest.mark.parametrize("runs", [5, 60, 110, 200, 240, 300, 400, 500, 600, 1200, 7200])
def test_a_lost_event_delays_a_stage_by_about_its_own_time(runs: int, start: int) -> None:
    world = World(max_job_duration=24 * 3600)
    world.clock.sleep(start)
    w = world.with_running_algorithm()
    world.pass_time(runs)
    world.end_job(w)
    world.events.clear()
    ended = world.clock()
    while world.state(w).stage is Stage.ALGORITHM:
        world.pass_time(1)
    ran = timedelta(seconds=runs)
    assert world.clock() - ended <= max(timedelta(seconds=30), min(1.25 * ran, SLOW_PERIOD + timedelta(seconds=90)))
