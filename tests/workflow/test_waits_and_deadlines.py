"""How long a workflow, a Pod and a container may take, and what follows."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from support.rules import LONG_AFTER, MANIFEST, NOW, UID, at, ended, failed_with, new, waiting

from functions.workflow.codes import Code
from functions.workflow.decide import decide
from functions.workflow.decision import DeleteJob, RemoveResults, Verdict
from functions.workflow.model import Limits, Outcome, Phase, Stage, Stop, Waiting, Workflow
from functions.workflow.observation import (
    StageLost,
    StageStuck,
    Tick,
)
from functions.workflow.timing import HALT_PATIENCE


def test_a_workflow_that_waits_too_long_for_a_slot_expires() -> None:
    w = decide(new(Limits(queue_seconds=60)), Tick(), NOW + timedelta(seconds=60)).workflow
    assert (w.phase, w.status) == (Phase.FINISHED, Code.QUEUE_EXPIRED)


def test_a_pod_that_waits_is_given_its_grace_and_then_fails_with_its_reason() -> None:
    w = at(Stage.ALGORITHM)
    stuck = StageStuck(Stage.ALGORITHM, 1, UID, "ImagePullBackOff", NOW)
    early = decide(w, stuck, NOW + timedelta(seconds=59))
    assert early.verdict is Verdict.UNCHANGED
    late = decide(w, stuck, NOW + timedelta(seconds=60))
    assert late.effects == (DeleteJob(Stage.ALGORITHM, 1),)
    end = decide(late.workflow, StageLost(Stage.ALGORITHM, 1), NOW)
    assert end.workflow.ending is not None
    assert (end.workflow.ending.code, end.workflow.ending.reason) == (41, "ImagePullBackOff")


@pytest.mark.parametrize("reason", ["NoPod", "Unschedulable", "FailedMount"])
def test_a_pod_that_waits_for_room_is_given_more_time(reason: str) -> None:
    w = at(Stage.ALGORITHM, limits=Limits(stuck_seconds=60, start_seconds=600))
    stuck = StageStuck(Stage.ALGORITHM, 1, UID, reason, NOW)
    early = decide(w, stuck, NOW + timedelta(seconds=599))
    assert (early.verdict, early.workflow.waiting) == (Verdict.UNCHANGED, Waiting(reason, NOW))
    halted = decide(early.workflow, stuck, NOW + timedelta(seconds=600)).workflow
    assert failed_with(decide(halted, StageLost(Stage.ALGORITHM, 1), NOW)) == (41, reason)


def test_an_algorithm_that_never_ran_has_not_run_out_of_time_but_failed() -> None:
    d = ended(waiting(Stage.ALGORITHM), Outcome.TIMED_OUT, reason="DeadlineExceeded")
    assert failed_with(d) == (41, "ImagePullBackOff")
    assert d.workflow.stop is Stop.NONE
    assert d.closed is not None
    assert (d.closed.outcome, d.closed.reason) == (Outcome.FAILED, "ImagePullBackOff")


def test_a_wait_counts_from_its_beginning_until_its_reason_changes() -> None:
    def stuck(w: Workflow, reason: str, since: int) -> Workflow:
        stuck = StageStuck(Stage.ALGORITHM, 1, UID, reason, NOW + timedelta(seconds=since))
        return decide(w, stuck, NOW + timedelta(seconds=since)).workflow

    w = stuck(stuck(at(Stage.ALGORITHM), "Unschedulable", 0), "Unschedulable", 9)
    assert w.waiting == Waiting("Unschedulable", NOW)
    w = stuck(w, "ImagePullBackOff", 20)
    assert w.waiting == Waiting("ImagePullBackOff", NOW + timedelta(seconds=20))


def test_an_unannounced_deadline_of_an_algorithm_that_never_ran_is_a_failure_too() -> None:
    w = waiting(Stage.ALGORITHM, "Unschedulable")
    assert w.deadline is not None
    halted = decide(w, Tick(), w.deadline).workflow
    assert failed_with(decide(halted, StageLost(Stage.ALGORITHM, 1), w.deadline)) == (41, "Unschedulable")


def test_an_algorithm_that_ran_after_its_wait_has_run_out_of_time() -> None:
    runs = decide(waiting(Stage.ALGORITHM), Tick(runs_since=NOW), NOW + timedelta(seconds=9)).workflow
    assert (runs.waiting, runs.runs_since) == (None, NOW)
    assert ended(runs, Outcome.TIMED_OUT, reason="DeadlineExceeded").workflow.stop is Stop.TIMED_OUT


def test_a_short_wait_for_a_volume_does_not_mean_that_the_container_never_ran() -> None:
    stuck = StageStuck(Stage.ALGORITHM, 1, UID, "FailedMount", NOW)
    w = decide(at(Stage.ALGORITHM), stuck, NOW + timedelta(seconds=9)).workflow
    assert ended(w, Outcome.TIMED_OUT, reason="DeadlineExceeded").workflow.stop is Stop.TIMED_OUT
    w = decide(at(Stage.ALGORITHM), stuck, NOW + timedelta(seconds=10)).workflow
    assert failed_with(ended(w, Outcome.TIMED_OUT, reason="DeadlineExceeded")) == (41, "FailedMount")


def test_the_reason_of_a_wait_is_not_carried_to_the_next_stage() -> None:
    w = ended(waiting(Stage.CONFIGURE, "Unschedulable"), Outcome.SUCCEEDED, 0).workflow
    assert (w.phase, w.waiting, w.runs_since) == (Phase.ALGORITHM, None, None)


def test_a_stage_may_run_as_long_as_granted_however_long_its_pod_has_waited() -> None:
    w = waiting(Stage.ALGORITHM, "Unschedulable", Limits(algorithm_seconds=60, start_seconds=600))
    begun = NOW + timedelta(seconds=590)
    runs = decide(w, Tick(runs_since=begun), begun + timedelta(seconds=30)).workflow
    over = begun + timedelta(seconds=60)
    assert decide(runs, Tick(runs_since=begun), over - timedelta(seconds=1)).workflow.halt is None
    halted = decide(runs, Tick(runs_since=begun), over).workflow.halt
    assert halted is not None
    assert (halted.outcome, halted.reason) == (Outcome.TIMED_OUT, "DeadlineExceeded")


@pytest.mark.parametrize("wrong", [timedelta(minutes=-5), timedelta(minutes=5)])
def test_a_node_whose_clock_is_wrong_neither_takes_nor_gives_more_than_the_wait(wrong: timedelta) -> None:
    w = at(Stage.ALGORITHM, limits=Limits(algorithm_seconds=60))
    seen_at = NOW + timedelta(seconds=40)
    runs = decide(w, Tick(runs_since=NOW + timedelta(seconds=30) + wrong), seen_at).workflow
    assert runs.runs_since is not None
    assert NOW <= runs.runs_since <= seen_at
    again = decide(runs, Tick(runs_since=NOW + wrong), seen_at + timedelta(seconds=10)).workflow
    assert (again.runs_since, again.deadline) == (runs.runs_since, runs.runs_since + timedelta(seconds=60))


def test_the_time_of_a_container_does_not_count_before_its_job_is_recorded() -> None:
    w = replace(at(Stage.ALGORITHM, limits=Limits(algorithm_seconds=60)), job_uid=None, job_created_at=None)
    running = decide(w, Tick(runs_since=NOW - timedelta(minutes=5)), NOW + timedelta(seconds=5)).workflow
    assert (running.runs_since, running.deadline) == (None, w.deadline)


def test_a_drained_job_may_have_no_pod_for_a_while() -> None:
    runs = decide(at(Stage.CONFIGURE), Tick(runs_since=NOW), NOW).workflow
    later = NOW + timedelta(minutes=20)
    d = decide(runs, StageStuck(Stage.CONFIGURE, 1, UID, "NoPod", NOW), later)
    assert (d.verdict, d.workflow.halt, d.workflow.waiting) == (Verdict.UNCHANGED, None, None)


def test_a_stage_past_its_deadline_is_halted_and_counts_as_timed_out() -> None:
    w = at(Stage.ALGORITHM)
    assert w.deadline is not None
    halted = decide(w, Tick(), w.deadline).workflow
    assert halted.halt is not None
    assert halted.deadline == w.deadline + HALT_PATIENCE
    assert decide(halted, StageLost(Stage.ALGORITHM, 1), w.deadline).workflow.stop is Stop.TIMED_OUT


def test_the_owner_is_told_of_a_time_limit_only_for_the_algorithm() -> None:
    w = ended(at(Stage.CONFIGURE, limits=Limits(attempts=1)), Outcome.TIMED_OUT, reason="DeadlineExceeded").workflow
    assert (w.phase, w.stop) == (Phase.PUBLISH, Stop.NONE)


def test_a_suspended_job_does_not_run_out_of_time_until_the_queue_does() -> None:
    w = at(Stage.ALGORITHM, limits=Limits(queue_seconds=7200))
    assert w.deadline is not None
    later = decide(w, Tick(suspended=True), w.deadline).workflow
    assert later.halt is None
    assert later.deadline is not None
    assert later.deadline > w.deadline
    assert decide(w, Tick(suspended=True), NOW + timedelta(hours=2)).workflow.halt is not None


def test_the_time_of_a_job_that_was_suspended_in_mid_run_begins_anew() -> None:
    runs = decide(at(Stage.ALGORITHM), Tick(runs_since=NOW), NOW).workflow
    held = decide(runs, Tick(suspended=True), NOW + timedelta(seconds=50)).workflow
    assert held.runs_since is None
    again = decide(held, Tick(runs_since=NOW + timedelta(minutes=5)), NOW + timedelta(minutes=5)).workflow
    assert again.deadline == NOW + timedelta(minutes=6)


def test_results_expire_when_the_environment_says_so() -> None:
    w = ended(at(Stage.PUBLISH, limits=Limits(storage_expiry=60)), Outcome.SUCCEEDED, 0, manifest=MANIFEST).workflow
    assert decide(w, Tick(), NOW + timedelta(seconds=59)).effects == ()
    gone = decide(w, Tick(), NOW + timedelta(seconds=60))
    assert (gone.workflow.expired, gone.effects) == (True, (RemoveResults(),))
    assert decide(gone.workflow, Tick(), LONG_AFTER).effects == ()


def test_an_expiry_of_zero_keeps_results() -> None:
    w = ended(at(Stage.PUBLISH), Outcome.SUCCEEDED, 0, manifest=MANIFEST).workflow
    assert w.wake_at is None
