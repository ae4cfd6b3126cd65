"""When a workflow is checked again, and how often the tick must come for it."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis.strategies import timedeltas
from msgspec.structs import replace
from support.rules import NOW, UID, new

from functions.workflow import timing
from functions.workflow.decide import decide
from functions.workflow.decision import CleanUp, Decision, Emit, Verdict
from functions.workflow.model import Halt, Limits, Outcome, Phase, Stage, Workflow
from functions.workflow.observation import Admitted, DeleteRequested, StageEnded, StageStuck
from functions.workflow.tick import (
    FAST_PERIOD,
    FAST_WITHIN,
    HOURLY_WITHIN,
    MEDIUM_PERIOD,
    MEDIUM_WITHIN,
    PERIODS,
    SLOW_PERIOD,
    TickLevel,
    level_for,
    level_needed,
)

SECOND = timedelta(seconds=1)
TIMES = timedeltas(min_value=SECOND, max_value=timedelta(days=3))


def running(since: timedelta, left: timedelta) -> Workflow:
    """A workflow whose container runs since then, and that has so much time left."""
    w = decide(new(), Admitted(), NOW).workflow
    return replace(w, job_uid=UID, job_created_at=NOW - since, runs_since=NOW - since, deadline=NOW + left)


@given(TIMES, TIMES)
def test_the_next_check_is_after_now_and_not_after_the_end(end: timedelta, pause: timedelta) -> None:
    at = timing.check_before(NOW + end, pause, NOW)
    assert NOW < at <= NOW + min(pause, end)


@given(TIMES, TIMES)
def test_a_tick_of_any_level_comes_between_a_check_and_an_end_that_needs_fast_ticks(
    end: timedelta, pause: timedelta
) -> None:
    at = timing.check_before(NOW + end, pause, NOW)
    level = level_for(at, NOW, waits=False)
    if level is not TickLevel.FAST:  # the next tick comes within a period of `at`
        assert at + PERIODS[level] < NOW + end


@given(TIMES)
def test_a_running_container_is_checked_again_after_as_long_as_it_has_run(age: timedelta) -> None:
    far = timedelta(days=30)
    expected = min(max(age, timedelta(seconds=10)), timedelta(minutes=9, seconds=30))
    assert timing.next_check(running(age, far), NOW) == NOW + expected


def test_each_pause_is_over_when_the_next_tick_of_its_level_comes() -> None:
    assert timing.CHECK_AFTER < FAST_PERIOD
    assert timing.LONGEST_PAUSE < SLOW_PERIOD
    assert timing.FAST_PAUSE < FAST_WITHIN < timing.MEDIUM_PAUSE < MEDIUM_WITHIN < timing.LONGEST_PAUSE
    assert timing.MEDIUM_LEAD > SLOW_PERIOD
    assert timing.FAST_LEAD > MEDIUM_PERIOD


def test_a_job_that_is_not_created_is_checked_less_often_the_longer_it_waits() -> None:
    w = decide(new(), Admitted(), NOW).workflow
    assert timing.next_check(w, NOW) == NOW + timing.CHECK_AFTER
    later = NOW + timedelta(minutes=5)
    assert timing.next_check(w, later) == later + timedelta(minutes=5)


def test_a_workflow_that_is_being_halted_is_checked_by_each_fast_tick() -> None:
    w = decide(replace(running(timedelta(hours=1), timedelta(hours=1))), DeleteRequested(), NOW).workflow
    assert w.halt is not None
    assert timing.next_check(w, NOW + SECOND) == NOW + SECOND + timing.CHECK_AFTER


@pytest.mark.parametrize("phase", [Phase.QUEUED, Phase.HELD])
def test_a_workflow_that_only_waits_is_first_checked_shortly_before_its_end(phase: Phase) -> None:
    w = replace(new(), phase=phase, deadline=NOW + timedelta(days=1))
    assert timing.next_check(w, NOW) == NOW + timedelta(days=1) - timing.MEDIUM_LEAD


@pytest.mark.parametrize(
    ("reason", "definitive", "seconds"),
    [
        ("ImagePullBackOff", False, 60),
        ("ErrImagePull", True, 10),
        ("Unschedulable", False, 600),
        ("FailedMount", False, 600),
        ("NoPod", False, 600),
    ],
)
def test_the_patience_with_a_waiting_pod_follows_its_reason(reason: str, definitive: bool, seconds: int) -> None:
    stuck = StageStuck(Stage.ALGORITHM, 1, UID, reason, NOW, definitive)
    assert timing.patience(Limits(), stuck) == timedelta(seconds=seconds)
    assert timing.patience(Limits(stuck_seconds=5), replace(stuck, reason="X")) == timedelta(seconds=5)


@pytest.mark.parametrize(
    ("due", "waits", "level"),
    [
        (None, True, TickLevel.NONE),
        (None, False, TickLevel.SLOW),
        (timedelta(), True, TickLevel.FAST),
        (FAST_WITHIN - SECOND, False, TickLevel.FAST),
        (FAST_WITHIN, False, TickLevel.MEDIUM),
        (MEDIUM_WITHIN - SECOND, True, TickLevel.MEDIUM),
        (MEDIUM_WITHIN, False, TickLevel.SLOW),
        (HOURLY_WITHIN - SECOND, True, TickLevel.SLOW),
        (HOURLY_WITHIN, True, TickLevel.NONE),
        (HOURLY_WITHIN, False, TickLevel.SLOW),
    ],
)
def test_the_level_follows_what_is_due_next(due: timedelta | None, waits: bool, level: TickLevel) -> None:
    assert level_for(None if due is None else NOW + due, NOW, waits=waits) is level


def test_decisions_need_the_level_of_the_neediest() -> None:
    finished = replace(new(), phase=Phase.FINISHED, wake_at=NOW)
    queued = new()

    def needed(*decisions: Decision) -> TickLevel:
        return level_needed(decisions, NOW)

    assert needed() is TickLevel.NONE
    assert needed(Decision(finished, Verdict.APPLIED, (CleanUp(),))) is TickLevel.NONE
    assert needed(Decision(finished, Verdict.APPLIED, (Emit("finished"),))) is TickLevel.FAST
    assert needed(Decision(finished, Verdict.APPLIED, (Emit("held", after=60),))) is TickLevel.NONE
    assert needed(Decision(queued, Verdict.APPLIED)) is TickLevel.SLOW
    assert needed(Decision(finished, Verdict.APPLIED), Decision(queued, Verdict.APPLIED)) is TickLevel.SLOW
    assert needed(Decision(replace(queued, phase=Phase.HELD), Verdict.APPLIED)) is TickLevel.NONE


def test_results_that_were_deleted_while_they_were_published_do_not_expire() -> None:
    w = replace(running(SECOND, timedelta(hours=1)), phase=Phase.PUBLISH, limits=Limits(storage_expiry=60))
    succeeded = StageEnded(Stage.PUBLISH, w.attempt, UID, Outcome.FAILED, 1)
    kept = decide(replace(w, attempt=99), replace(succeeded, attempt=99), NOW).workflow
    assert (kept.finished, kept.wake_at) == (True, NOW + timedelta(seconds=60))
    deleted = decide(decide(w, DeleteRequested(), NOW).workflow, succeeded, NOW).workflow
    assert (deleted.finished, deleted.wake_at) == (True, None)


def test_a_stage_whose_job_is_not_created_has_the_queue_time_as_well() -> None:
    w = decide(new(), Admitted(), NOW).workflow
    assert w.deadline is not None
    assert timing.due_at(w) == w.deadline + timedelta(seconds=w.limits.queue_seconds)
    assert timing.due_at(replace(w, job_uid=UID)) == w.deadline
    assert timing.due_at(replace(w, deadline=None)) is None
    assert timing.due_at(replace(w, halt=Halt(Outcome.STOPPED, "StopRequested"))) == w.deadline


def test_a_job_that_cannot_be_read_is_given_up_a_queue_time_after_its_deadline() -> None:
    w = running(SECOND, SECOND)
    assert timing.read_deadline(w) == NOW + SECOND + timedelta(seconds=w.limits.queue_seconds)
    assert timing.read_deadline(replace(w, deadline=None)) is None


def test_further_attempts_wait_ten_seconds_a_minute_six_and_then_fifteen() -> None:
    pauses = [timing.pause(Limits(attempts=7), attempt) for attempt in range(2, 7)]
    assert pauses == [10, 60, 360, 900, 900]


def test_the_attempts_of_a_release_that_is_asked_for_again_wait_as_those_of_the_first() -> None:
    limits = Limits(attempts=3)
    follow = [timing.may_follow(limits, Stage.RELEASE, attempt) for attempt in range(1, 7)]
    assert follow == [True, True, False, True, True, False]
    assert not timing.may_follow(limits, Stage.PUBLISH, 4)
    assert [timing.pause(limits, attempt) for attempt in (2, 3)] == [
        timing.pause(limits, attempt) for attempt in (5, 6)
    ]


def test_a_container_that_does_not_run_yet_is_checked_by_each_fast_tick_and_not_after_the_end() -> None:
    w = replace(running(SECOND, timedelta(hours=1)), runs_since=None)
    assert timing.next_check(w, NOW) == NOW + timing.CHECK_AFTER
    assert timing.next_check(replace(w, deadline=NOW + SECOND), NOW) == NOW + SECOND
    assert timing.next_check(replace(w, deadline=None), NOW) == NOW + timing.CHECK_AFTER


def test_the_wait_of_a_further_executor_for_its_job_begins_when_it_was_decided() -> None:
    limits = Limits(algorithm_seconds=3600)
    w = replace(running(SECOND, SECOND), phase=Phase.ALGORITHM, limits=limits, ran_seconds=3000, job_uid=None)
    w = replace(w, deadline=timing.stage_deadline(timing.remaining(w), Stage.ALGORITHM, NOW))
    age = timedelta(minutes=1)
    assert timing.next_check(w, NOW + age) == NOW + 2 * age
