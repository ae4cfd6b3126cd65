"""Nothing is tried for ever: every retry has a limit, and what is given up ends with a reason."""

from __future__ import annotations

import dataclasses
import json
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from support.deployment import of_kind
from support.world import STAGES, World, record

from functions.advance import notifications
from functions.advance import sweep as sweeping
from functions.advance.reconcile import reconcile
from functions.cluster.ports import ClusterUnavailable, Rejected
from functions.engine import transitions
from functions.results.ports import StorageUnavailable
from functions.workflow.codes import Code
from functions.workflow.model import Outcome, Phase, Stage, Stop, WorkflowId

FOR_EVER = 10**6
HOUR = 3600.0


def until_finished(world: World, w: WorkflowId, hours: int) -> None:
    """Ticks alone, for so many hours at most."""
    for _ in range(hours):
        if world.state(w).finished:
            return
        world.tick(HOUR)
    raise AssertionError(f"still {world.state(w)}")


def wait_for_a_job(world: World) -> None:
    """Some hours, until the cluster takes one."""
    for hours in range(10):
        if world.cluster.running():
            assert hours >= 2
            return
        world.tick(HOUR)
    raise AssertionError("no Job came to be")


def reason(world: World, w: WorkflowId) -> tuple[int, str]:
    ending = world.state(w).ending
    assert ending is not None
    return world.state(w).status, ending.reason


def nothing_open(world: World) -> bool:
    later = world.clock() + timedelta(days=365)
    return not world.app.store.claim_intents(later, later, 10)


@pytest.mark.parametrize(
    ("stage", "code"),
    [(Stage.CONFIGURE, Code.DATA_FAILED), (Stage.PUBLISH, Code.UPLOAD_FAILED)],
)
@pytest.mark.parametrize("how", ["lost", "crashed"])
def test_a_stage_of_ours_that_keeps_dying_ends_failed_after_its_attempts(stage: Stage, code: Code, how: str) -> None:
    world = World(attempts=3)
    w = world.submit()
    while world.state(w).stage is not stage:
        world.end_job(w)
        world.deliver()
    tried = 0
    while world.state(w).stage is stage:
        tried += 1
        world.wait_for_job(w)
        if how == "lost":
            world.cluster.vanish(world.job(w))
        else:
            world.end_job(w, 137, reason="Error")
        world.deliver()
    assert tried == 3
    if stage is Stage.CONFIGURE:
        world.run(w)
    assert reason(world, w) == (code, "Lost" if how == "lost" else "Error")


def test_an_algorithm_that_is_lost_is_not_run_again() -> None:
    world = World()
    w = world.submit()
    world.end_job(w)
    world.deliver()
    world.cluster.vanish(world.job(w))
    world.deliver()
    world.run(w)
    assert reason(world, w) == (Code.ALGORITHM_FAILED, "Lost")
    assert world.cluster.created[f"{w}-algorithm-1"] == 1
    assert f"{w}-algorithm-2" not in world.cluster.created


def test_a_cluster_that_creates_nothing_any_more_is_waited_for_as_long_as_the_queue_and_no_longer() -> None:
    world = World(queue_seconds=24 * 3600)
    world.cluster.fail_next("create", ClusterUnavailable("down"), times=FOR_EVER)
    world.app.transitions.submit(record(world.app, 1), "test")
    w = WorkflowId(f"{1:032x}")
    until_finished(world, w, hours=72)
    assert reason(world, w) == (Code.DATA_FAILED, "ClusterUnavailable")
    world.tick(HOUR)
    assert nothing_open(world)


def test_a_creation_that_is_tried_too_often_has_failed() -> None:
    """However long the queue may be, and however often the event comes again."""
    world = World(queue_seconds=1000 * 24 * 3600)
    world.cluster.fail_next("create", ClusterUnavailable("down"), times=FOR_EVER)
    world.submit()
    w = WorkflowId(f"{1:032x}")
    until_finished(world, w, hours=24 * 20)
    assert reason(world, w) == (Code.DATA_FAILED, "ClusterUnavailable")


@pytest.mark.parametrize("error", [Rejected("QuotaExceeded", "full", final=False), ClusterUnavailable("down")])
def test_the_wait_for_a_job_does_not_count_as_its_stages_time(error: Exception) -> None:
    """The quota was full, or the cluster away, for longer than the stage may run: it runs all the same."""
    world = World(max_job_duration=60)
    w = world.submit()
    world.end_job(w)
    world.cluster.fail_next("create", error, times=5)
    with suppress(ClusterUnavailable):
        world.deliver()
    wait_for_a_job(world)
    assert [ref.stage for ref in world.cluster.running()] == [Stage.ALGORITHM]
    world.tick()
    assert world.state(w).halt is None
    world.run(w)
    assert (world.state(w).status, world.state(w).stop) == (Code.FINISHED, Stop.NONE)


def test_the_time_of_a_stage_counts_from_a_late_creation_too() -> None:
    world = World(max_job_duration=60)
    w = world.submit()
    world.end_job(w)
    world.cluster.fail_next("create", Rejected("QuotaExceeded", "full", final=False), times=5)
    world.deliver()
    wait_for_a_job(world)
    for _ in range(17):  # a minute, ten more in which it might have waited, and the slack
        world.tick()
    assert world.state(w).stop is Stop.TIMED_OUT


@pytest.mark.parametrize("stage", STAGES)
def test_a_cluster_that_answers_no_question_any_more_is_given_up(stage: Stage) -> None:
    world = World(queue_seconds=24 * 3600, filter_image="operator/filter")
    w = world.submit()
    while world.state(w).stage is not stage:
        world.end_job(w)
        world.deliver()
    for method in ("read", "create", "delete"):
        world.cluster.fail_next(method, ClusterUnavailable("down"), times=FOR_EVER)
    until_finished(world, w, hours=24 * 10)
    assert world.state(w).ending is not None


def test_a_short_outage_does_not_fail_a_stage_that_ran_well_meanwhile() -> None:
    world = World(queue_seconds=24 * 3600, max_job_duration=60)
    w = world.submit()
    world.end_job(w)
    world.deliver()
    world.end_job(w)
    world.events.clear()
    world.cluster.fail_next("read", ClusterUnavailable("down"), times=12)
    for _ in range(12):
        world.tick(HOUR)  # far beyond the stage's own deadline
    assert world.state(w).phase is Phase.ALGORITHM
    world.tick()
    assert world.state(w).phase is Phase.PUBLISH
    assert world.state(w).ending is None


def test_a_storage_whose_manifest_can_never_be_read_ends_the_workflow_as_not_published() -> None:
    world = World(queue_seconds=24 * 3600)
    w = world.submit()
    for _ in range(2):
        world.end_job(w)
        world.deliver()
    world.end_job(w)
    world.events.clear()

    def away(*_: object) -> Any:
        raise StorageUnavailable("refused")

    world.storage.manifest = away  # type: ignore[method-assign,assignment]
    with pytest.raises(StorageUnavailable):
        reconcile(world.app, world.state(w), "test")
    until_finished(world, w, hours=48)
    assert reason(world, w) == (Code.UPLOAD_FAILED, "DeadlineExceeded")


@pytest.mark.parametrize("method", ["delete", "clean_up"])
def test_deleting_and_cleaning_up_are_given_up_after_so_many_tries(method: str) -> None:
    world = World()
    w = world.submit()
    world.cluster.fail_next(method, ClusterUnavailable("down"), times=FOR_EVER)
    with pytest.raises(ClusterUnavailable):
        world.delete(w)
    until_finished(world, w, hours=2)
    world.cluster.fail_next("orphans", ClusterUnavailable("down"), times=FOR_EVER)  # so that intents alone are counted
    for _ in range(transitions.MAX_TRIES + 10):
        world.tick(HOUR)
    tries = world.cluster.calls[method]
    assert transitions.MAX_TRIES <= tries <= transitions.MAX_TRIES + 2
    assert nothing_open(world)


def test_a_status_that_cannot_be_reported_is_given_up_after_so_many_tries() -> None:
    world = World()
    new = record(world.app, 1)
    reported = replace(
        new,
        workflow=replace(new.workflow, reported=True),
        submission=replace(new.submission, origin="ocean-compute/w"),
    )
    world.cluster.fail_next("report", ClusterUnavailable("down"), times=FOR_EVER)
    world.app.transitions.submit(reported, "test")
    world.tick()
    for _ in range(8 * transitions.MAX_TRIES):
        world.tick(HOUR)
        for ref in world.cluster.running():
            world.end_job(ref.workflow)
        world.events.clear()
    assert world.state(new.workflow.id).finished
    assert nothing_open(world)


def test_a_notification_that_nobody_takes_is_dropped_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World()
    settings = dataclasses.replace(world.app.settings, notify_start_url="http://127.0.0.1:1/start")
    world.app.settings = settings
    tries = 0

    def refused(*_: object) -> bool:
        nonlocal tries
        tries += 1
        return False

    monkeypatch.setattr(notifications, "deliver", refused)
    world.run(world.submit())
    for _ in range(sweeping.MAX_DELIVERIES + 100):
        world.tick(2 * HOUR)
    assert tries == sweeping.MAX_DELIVERIES


@pytest.mark.parametrize("overlay", ["base", "kind", "production", "eventing-only"])
def test_every_trigger_gives_an_event_up_and_names_where_it_goes_then(overlay: str) -> None:
    triggers = of_kind(overlay, "Trigger")
    assert triggers
    for name, trigger in triggers.items():
        delivery = trigger["spec"]["delivery"]
        assert 1 <= delivery["retry"] <= 10, name
        assert delivery["backoffPolicy"] in ("exponential", "linear")
        # A tick that is given up is made good by the next.
        assert "deadLetterSink" in delivery or "sources.ping" in json.dumps(trigger["spec"]["filter"]), name


def test_a_job_that_times_out_is_not_waited_for_beyond_its_deadline() -> None:
    """Neither its own deadline nor its end was ever announced, and it cannot be deleted."""
    world = World(lingering=True, max_job_duration=60)
    w = world.submit()
    world.end_job(w)
    world.deliver()
    for _ in range(22):
        world.tick()
    attempts = {a.stage: a.end for a in world.app.store.attempts(w)}
    ended = attempts[Stage.ALGORITHM]
    assert ended is not None
    assert ended.outcome is Outcome.TIMED_OUT
    assert world.state(w).phase is Phase.PUBLISH
