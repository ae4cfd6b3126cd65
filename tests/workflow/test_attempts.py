"""Which observations count for the current attempt, and what is recorded of it when it ends."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from support.rules import LONG_AFTER, MANIFEST, NOW, UID, at, ended, failed_with, new, waiting

from functions.workflow.decide import decide
from functions.workflow.decision import CleanUp, Emit, RemoveResults, Verdict
from functions.workflow.model import Hold, JobUid, Limits, Outcome, Phase, Stage, Stop, Workflow
from functions.workflow.observation import (
    Admitted,
    DeleteRequested,
    StageEnded,
    StageLost,
    StageStuck,
    StopRequested,
    Tick,
)
from functions.workflow.timing import CHECK_AFTER, HALT_PATIENCE, LONGEST_PAUSE, stage_deadline

TASK = Limits(ignore_errors=(True, False), algorithm_seconds=60)


def finished(limits: Limits | None = None) -> Workflow:
    return ended(at(Stage.PUBLISH, limits=limits), Outcome.SUCCEEDED, 0, manifest=MANIFEST).workflow


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


# --- which observations count ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("w", "verdict"),
    [
        (at(Stage.PUBLISH), Verdict.DUPLICATE),
        (at(Stage.CONFIGURE), Verdict.FOREIGN),
        (at(Stage.ALGORITHM, attempt=2), Verdict.DUPLICATE),
        (at(Stage.ALGORITHM, attempt=0), Verdict.FOREIGN),
        (at(Stage.ALGORITHM, executor=1, limits=TASK), Verdict.DUPLICATE),
        (replace(at(Stage.ALGORITHM), job_uid=JobUid("another")), Verdict.FOREIGN),
        (new(), Verdict.FOREIGN),
        (finished(), Verdict.LATE),
    ],
    ids=["later stage", "earlier stage", "later attempt", "earlier attempt", "executor", "uid", "queued", "finished"],
)
def test_an_end_that_is_not_of_the_current_attempt_changes_nothing(w: Workflow, verdict: Verdict) -> None:
    d = decide(w, StageEnded(Stage.ALGORITHM, 1, UID, Outcome.SUCCEEDED, 0), NOW)
    assert (d.verdict, d.workflow, d.effects, d.lines) == (verdict, w, (), ())


def test_an_end_counts_even_if_the_creation_of_its_job_is_not_recorded_yet() -> None:
    w = replace(at(Stage.ALGORITHM), job_uid=None, job_created_at=None)
    assert ended(w, Outcome.SUCCEEDED, 0).workflow.phase is Phase.PUBLISH


@pytest.mark.parametrize("observation", [StopRequested(), Admitted()])
def test_a_finished_workflow_is_not_stopped_or_admitted(observation: StopRequested | Admitted) -> None:
    d = decide(finished(), observation, NOW)
    assert (d.verdict, d.workflow) == (Verdict.LATE, finished())


def test_each_step_has_the_next_number() -> None:
    w = new()
    d = decide(w, Admitted(), NOW)
    assert (d.workflow.step, [line.step for line in d.lines]) == (w.step + 1, [w.step + 1])


def test_facts_without_a_value_are_not_stated() -> None:
    d = ended(at(Stage.ALGORITHM), Outcome.SUCCEEDED, 0, facts={"image": "sha256:x", "outputs": ""})
    assert [line.facts for line in d.lines] == [{"image": "sha256:x"}]
    assert [line.facts for line in ended(at(Stage.ALGORITHM), Outcome.SUCCEEDED, 0).lines] == [{}]


# --- what is recorded of an attempt ---------------------------------------------------------


@pytest.mark.parametrize(
    ("stage", "outcome", "exit_code", "reason", "recorded"),
    [
        (Stage.ALGORITHM, Outcome.SUCCEEDED, 0, "Completed", ""),
        (Stage.ALGORITHM, Outcome.FAILED, 3, "Error", "AlgorithmExit:3"),
        (Stage.FILTER, Outcome.FAILED, 3, "", "FilterExit:3"),
        (Stage.ALGORITHM, Outcome.FAILED, None, "Error", "Error"),
        (Stage.ALGORITHM, Outcome.FAILED, None, "", "failed"),
        (Stage.CONFIGURE, Outcome.FAILED, 1, "Error", "Error"),
        (Stage.ALGORITHM, Outcome.TIMED_OUT, 143, "", "timed out"),
    ],
)
def test_the_reason_of_an_attempt_names_the_exit_code_of_foreign_programs_only(
    stage: Stage, outcome: Outcome, exit_code: int | None, reason: str, recorded: str
) -> None:
    d = ended(at(stage), outcome, exit_code, reason)
    assert d.closed is not None
    assert (d.closed.reason, d.closed.exit_code, d.lines[0].reason) == (recorded, exit_code, recorded)


@pytest.mark.parametrize(
    ("told", "recorded"), [(-5, 10), (5, 10), (20, 20), (90, 60), (None, 60)], ids=["", "", "", "ahead", "untold"]
)
def test_an_attempt_ends_between_the_start_of_its_container_and_now(told: float | None, recorded: float) -> None:
    w = replace(at(Stage.ALGORITHM), runs_since=later(10))
    end = StageEnded(Stage.ALGORITHM, 1, UID, Outcome.SUCCEEDED, 0, ended_at=None if told is None else later(told))
    closed = decide(w, end, later(60)).closed
    assert closed is not None
    assert (closed.at, closed.started_at) == (later(recorded), later(10))


def test_the_end_of_an_attempt_that_was_never_seen_to_run_lies_after_the_creation_of_its_job() -> None:
    end = StageEnded(Stage.ALGORITHM, 1, UID, Outcome.SUCCEEDED, 0, ended_at=later(-5))
    closed = decide(at(Stage.ALGORITHM), end, later(60)).closed
    assert closed is not None
    assert closed.at == NOW


def test_nothing_of_an_attempt_is_carried_into_the_next_stage_or_the_end() -> None:
    w = replace(at(Stage.ALGORITHM), runs_since=NOW)
    after = ended(w, Outcome.SUCCEEDED, 0).workflow
    assert (after.attempt, after.executor, after.job_uid, after.job_created_at, after.runs_since) == (
        1,
        0,
        None,
        None,
        None,
    )
    end = finished()
    assert (end.attempt, end.executor, end.job_uid, end.job_created_at, end.deadline) == (0, 0, None, None, None)


def test_the_time_of_a_stage_begins_with_it() -> None:
    end = StageEnded(Stage.CONFIGURE, 1, UID, Outcome.SUCCEEDED, 0)
    w = decide(at(Stage.CONFIGURE), end, later(100)).workflow
    assert (w.wake_at, w.deadline) == (later(100) + CHECK_AFTER, stage_deadline(w.limits, Stage.ALGORITHM, later(100)))


# --- further attempts -----------------------------------------------------------------------


def test_a_failure_with_an_exit_code_is_tried_again_even_if_the_creation_is_not_recorded() -> None:
    w = replace(at(Stage.CONFIGURE), job_uid=None)
    assert ended(w, Outcome.FAILED, 1, "Crashed").workflow.phase is Phase.CONFIGURE


def test_exit_codes_of_configure_mean_nothing_in_publish() -> None:
    d = ended(at(Stage.PUBLISH), Outcome.FAILED, 31, "Crashed")
    assert (d.workflow.phase, d.workflow.attempt, d.lines[0].reason) == (Phase.PUBLISH, 2, "Crashed")


def test_a_publish_that_fails_for_good_removes_no_released_files() -> None:
    d = ended(at(Stage.PUBLISH, attempt=5), Outcome.FAILED, 62, "ResultUploadFailed")
    assert (d.effects, d.lines[0].reason) == ((CleanUp(), Emit("finished")), "ResultUploadFailed")


# --- the image that a policy asks for -------------------------------------------------------


def test_only_an_algorithm_that_ran_is_held_to_its_image() -> None:
    limits = Limits(images=("sha256:asked",))
    assert ended(at(Stage.CONFIGURE, limits=limits), Outcome.SUCCEEDED, 0).workflow.phase is Phase.ALGORITHM
    failed = ended(at(Stage.ALGORITHM, limits=limits), Outcome.FAILED, 3, "Error")
    assert failed_with(failed) == (41, "AlgorithmExit:3")


def test_the_kill_of_an_algorithm_with_another_image_is_not_told() -> None:
    w = at(Stage.ALGORITHM, limits=Limits(images=("sha256:asked",)))
    d = ended(w, Outcome.FAILED, 137, "OOMKilled", oom_killed=True, facts={"image": "sha256:other"})
    assert d.workflow.ending is not None
    assert (d.workflow.ending.reason, d.workflow.ending.oom_killed) == ("AlgorithmNotAllowed", False)


# --- halts ----------------------------------------------------------------------------------


def test_a_halted_stage_is_checked_soon_and_given_up_after_a_while() -> None:
    w = replace(waiting(Stage.ALGORITHM), runs_since=NOW)
    d = decide(w, StopRequested(), later(5))
    halted = d.workflow
    assert (halted.waiting, halted.runs_since) == (None, NOW)
    assert (halted.wake_at, halted.deadline) == (later(5) + CHECK_AFTER, later(5) + HALT_PATIENCE)
    assert d.lines[0].reason == "StopRequested"
    over = decide(halted, Tick(), later(5) + HALT_PATIENCE).workflow
    assert (over.phase, over.halt) == (Phase.PUBLISH, None)


def test_no_further_attempt_starts_beside_a_job_that_does_not_go() -> None:
    w = waiting(Stage.CONFIGURE, "Unschedulable")
    halted = decide(w, StageStuck(Stage.CONFIGURE, 1, UID, "Unschedulable", NOW), LONG_AFTER).workflow
    assert halted.halt is not None
    gone = decide(halted, StageLost(Stage.CONFIGURE, 1), LONG_AFTER).workflow
    assert (gone.phase, gone.attempt, gone.halt) == (Phase.CONFIGURE, 2, None)
    there = decide(halted, Tick(), LONG_AFTER + HALT_PATIENCE)
    assert (there.workflow.phase, failed_with(there)[1]) == (Phase.PUBLISH, "Unschedulable")


def test_a_stage_that_was_halted_for_its_time_and_succeeded_all_the_same_has_succeeded() -> None:
    w = at(Stage.ALGORITHM)
    assert w.deadline is not None
    halted = decide(w, Tick(), w.deadline).workflow
    assert ended(halted, Outcome.SUCCEEDED, 0).workflow.ending is None
    failed = ended(halted, Outcome.FAILED, 137, "Error")
    assert (failed_with(failed), failed.workflow.stop) == ((70, "DeadlineExceeded"), Stop.TIMED_OUT)


def test_what_a_halted_pod_waits_for_changes_nothing() -> None:
    halted = decide(at(Stage.ALGORITHM), StopRequested(), NOW).workflow
    for observation in (StageStuck(Stage.ALGORITHM, 1, UID, "ImagePullBackOff", NOW), Tick(suspended=True)):
        after = decide(halted, observation, later(61)).workflow
        assert (after.halt, after.deadline, after.waiting) == (halted.halt, halted.deadline, None)


# --- stops and deletions --------------------------------------------------------------------


@pytest.mark.parametrize("request_", [StopRequested(), DeleteRequested()])
@pytest.mark.parametrize("hold", [Hold.NEVER, Hold.ALWAYS])
def test_a_queued_workflow_leaves_nothing_to_remove(request_: StopRequested | DeleteRequested, hold: Hold) -> None:
    d = decide(new(Limits(storage_expiry=60, hold=hold)), request_, NOW)
    assert failed_with(d) == (70, "StopRequested")
    assert (d.effects, d.workflow.wake_at, d.slot_freed) == ((Emit("finished"),), None, False)


def test_a_deletion_removes_what_a_publishing_has_written() -> None:
    halted = decide(at(Stage.PUBLISH, limits=Limits(storage_expiry=60)), DeleteRequested(), NOW).workflow
    d = decide(halted, StageLost(Stage.PUBLISH, 1), NOW)
    assert d.effects == (CleanUp(), RemoveResults(), Emit("finished"))
    assert (failed_with(d), d.workflow.wake_at, d.workflow.halt, d.slot_freed) == (
        (70, "StopRequested"),
        None,
        None,
        True,
    )


def test_deleted_results_do_not_expire() -> None:
    w = finished(Limits(storage_expiry=60))
    assert w.wake_at == later(60)
    assert decide(w, DeleteRequested(), NOW).workflow.wake_at is None


def test_a_deletion_keeps_the_time_out_and_the_failure_before() -> None:
    w = replace(ended(at(Stage.ALGORITHM), Outcome.TIMED_OUT, reason="DeadlineExceeded").workflow, job_uid=UID)
    halted = decide(w, DeleteRequested(), NOW).workflow
    assert halted.stop is Stop.TIMED_OUT
    assert failed_with(decide(halted, StageLost(Stage.PUBLISH, 1), NOW)) == (70, "DeadlineExceeded")


# --- waits ----------------------------------------------------------------------------------


def test_a_new_workflow_is_checked_before_its_queue_time_is_over() -> None:
    w = new(Limits(queue_seconds=60))
    assert (w.deadline, w.wake_at) == (later(60), later(45))
    assert decide(replace(w, wake_at=None), Tick(), later(1)).workflow.wake_at == later(46)
    assert decide(w, Tick(suspended=True), later(1)).verdict is Verdict.UNCHANGED


def test_a_container_that_ran_and_waits_again_has_run_out_of_time() -> None:
    runs = decide(at(Stage.ALGORITHM), Tick(runs_since=NOW), later(1)).workflow
    stuck = decide(runs, StageStuck(Stage.ALGORITHM, 1, UID, "CrashLoopBackOff", later(2)), later(3)).workflow
    assert stuck.waiting is not None
    assert ended(stuck, Outcome.TIMED_OUT, reason="DeadlineExceeded").workflow.stop is Stop.TIMED_OUT
    assert decide(stuck, Tick(runs_since=NOW), later(4)).workflow.waiting is None


def test_a_suspended_job_is_checked_less_often_the_longer_it_waits() -> None:
    w = waiting(Stage.ALGORITHM, "Unschedulable")
    held = decide(w, Tick(suspended=True), later(3600)).workflow
    assert (held.waiting, held.wake_at) == (None, later(3600) + LONGEST_PAUSE)
    uncreated = replace(w, job_created_at=None)
    assert decide(uncreated, Tick(suspended=True), later(3600)).workflow.wake_at == later(3600) + CHECK_AFTER
