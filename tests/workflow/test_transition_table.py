"""The table of docs/architecture.md, row by row."""

from dataclasses import replace
from datetime import timedelta

import pytest
from support.rules import LONG_AFTER, MANIFEST, NOW, UID, new

from functions.workflow.codes import Code
from functions.workflow.decide import decide
from functions.workflow.decision import CleanUp, CreateJob, Decision, DeleteJob, Emit, RemoveResults, Report, Verdict
from functions.workflow.hold_rules import scope
from functions.workflow.model import Limits, Outcome, Phase, Scope, Stage, Stop, Waiting, Workflow
from functions.workflow.observation import (
    Admitted,
    DeleteRequested,
    Observation,
    StageEnded,
    StageLost,
    StageStuck,
    StopRequested,
    Tick,
)
from functions.workflow.timing import ATTEMPT_PAUSES, DEADLINE_SLACK, HALT_PATIENCE, pause, stage_deadline


def at(stage: Stage, attempt: int = 1, limits: Limits | None = None) -> Workflow:
    """A workflow whose `stage` runs."""
    w = decide(new(limits), Admitted(), NOW).workflow
    deadline = stage_deadline(w.limits, stage, NOW)
    return replace(w, phase=Phase(stage), attempt=attempt, job_uid=UID, job_created_at=NOW, deadline=deadline)


def ended(w: Workflow, outcome: Outcome, exit_code: int | None = None, reason: str = "", **more: object) -> Decision:
    assert w.stage is not None
    end = StageEnded(w.stage, w.attempt, UID, outcome, exit_code, reason, **more)  # type: ignore[arg-type]
    return decide(w, end, NOW)


def test_a_submitted_workflow_waits_for_a_slot() -> None:
    w = new()
    assert (w.phase, w.status) == (Phase.QUEUED, 1)


def test_an_admitted_workflow_starts_with_configure() -> None:
    d = decide(new(), Admitted(), NOW)
    assert (d.workflow.phase, d.workflow.status) == (Phase.CONFIGURE, 20)
    assert CreateJob(Stage.CONFIGURE, 1) in d.effects


def test_the_algorithm_follows_configure() -> None:
    d = ended(at(Stage.CONFIGURE), Outcome.SUCCEEDED, 0)
    assert (d.workflow.phase, d.workflow.status) == (Phase.ALGORITHM, 40)
    assert d.effects == (CreateJob(Stage.ALGORITHM, 1),)


@pytest.mark.parametrize(("exit_code", "status"), [(31, 31), (32, 32)])
def test_without_data_or_algorithm_only_admin_logs_are_published(exit_code: int, status: int) -> None:
    d = ended(at(Stage.CONFIGURE), Outcome.FAILED, exit_code, "DataUnavailable")
    assert d.workflow.phase is Phase.PUBLISH
    assert scope(d.workflow) is Scope.ADMIN_LOGS
    end = ended(replace(d.workflow, job_uid=UID), Outcome.SUCCEEDED, 0, manifest=MANIFEST)
    assert (end.workflow.status, end.workflow.ending.reason) == (status, "DataUnavailable")  # type: ignore[union-attr]


def test_without_a_filter_an_algorithms_results_are_published() -> None:
    d = ended(at(Stage.ALGORITHM), Outcome.SUCCEEDED, 0)
    assert (d.workflow.phase, d.workflow.status) == (Phase.PUBLISH, 60)
    assert scope(d.workflow) is Scope.ALL


def test_with_a_filter_the_filter_follows_the_algorithm() -> None:
    d = ended(at(Stage.ALGORITHM, limits=Limits(filtered=True)), Outcome.SUCCEEDED, 0)
    assert (d.workflow.phase, d.workflow.status) == (Phase.FILTER, 50)


def test_outputs_that_pass_the_filter_are_published() -> None:
    d = ended(at(Stage.FILTER, limits=Limits(filtered=True)), Outcome.SUCCEEDED, 0)
    assert (d.workflow.phase, scope(d.workflow)) == (Phase.PUBLISH, Scope.OUTPUTS)


def test_outputs_that_the_filter_refuses_are_not_published() -> None:
    d = ended(at(Stage.FILTER, limits=Limits(filtered=True)), Outcome.FAILED, 1)
    assert (d.workflow.phase, scope(d.workflow)) == (Phase.PUBLISH, Scope.ADMIN_LOGS)
    end = ended(replace(d.workflow, job_uid=UID), Outcome.SUCCEEDED, 0, manifest=MANIFEST)
    assert end.workflow.status == Code.FILTER_REFUSED
    assert end.workflow.ending is not None
    assert end.workflow.ending.reason == "FilterExit:1"


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.TIMED_OUT, Outcome.LOST])
def test_unfiltered_outputs_and_logs_do_not_leave_after_a_failure(outcome: Outcome) -> None:
    d = ended(at(Stage.ALGORITHM, limits=Limits(filtered=True)), outcome, 3)
    assert (d.workflow.phase, scope(d.workflow)) == (Phase.PUBLISH, Scope.ADMIN_LOGS)


def test_a_failed_algorithm_says_its_exit_code_and_ends_41() -> None:
    d = ended(at(Stage.ALGORITHM), Outcome.FAILED, 3, "Error")
    assert (d.workflow.phase, scope(d.workflow)) == (Phase.PUBLISH, Scope.ALL)
    end = ended(replace(d.workflow, job_uid=UID), Outcome.SUCCEEDED, 0, manifest=MANIFEST).workflow
    assert end.ending is not None
    assert (end.status, end.ending.reason, end.ending.exit_code) == (41, "AlgorithmExit:3", 3)


def test_an_algorithm_out_of_memory_says_so() -> None:
    ending = ended(at(Stage.ALGORITHM), Outcome.FAILED, 137, "OOMKilled", oom_killed=True).workflow.ending
    assert ending is not None
    assert (ending.code, ending.reason, ending.oom_killed) == (41, "OOMKilled", True)


def test_an_overrun_algorithm_ends_70_with_stopreq_2() -> None:
    d = ended(at(Stage.ALGORITHM), Outcome.TIMED_OUT, reason="DeadlineExceeded")
    assert d.workflow.stop is Stop.TIMED_OUT
    end = ended(replace(d.workflow, job_uid=UID), Outcome.SUCCEEDED, 0, manifest=MANIFEST).workflow
    assert end.ending is not None
    assert (end.status, end.ending.reason) == (70, "DeadlineExceeded")


def test_a_successful_publish_finishes_the_workflow_with_its_manifest() -> None:
    d = ended(at(Stage.PUBLISH), Outcome.SUCCEEDED, 0, manifest=MANIFEST)
    assert (d.workflow.status, d.workflow.finished_at, d.manifest) == (70, NOW, MANIFEST)
    assert CleanUp() in d.effects
    assert Emit("finished") in d.effects


def test_publish_is_tried_again_and_then_ends_62() -> None:
    d = ended(at(Stage.PUBLISH), Outcome.FAILED, 62, "ResultUploadFailed")
    assert d.effects == (CreateJob(Stage.PUBLISH, 2),)
    end = ended(at(Stage.PUBLISH, attempt=5), Outcome.FAILED, 62, "ResultUploadFailed")
    assert end.workflow.status == 62
    assert end.manifest is None


def test_further_attempts_wait_longer_and_longer_for_more_than_twenty_minutes_in_all() -> None:
    pauses = [pause(CreateJob(Stage.PUBLISH, attempt)) for attempt in range(1, Limits().attempts + 1)]
    assert pauses[0] == timedelta()
    assert pauses == sorted(pauses)
    assert sum(pauses, timedelta()) > timedelta(minutes=20)
    assert pause(CreateJob(Stage.PUBLISH, 99)) == timedelta(seconds=ATTEMPT_PAUSES.longest)
    assert pause(DeleteJob(Stage.PUBLISH, 2)) == timedelta()


def test_the_time_of_a_further_attempt_begins_after_its_pause() -> None:
    limits = Limits(stage_seconds=60, start_seconds=0)
    w = ended(at(Stage.PUBLISH, attempt=4, limits=limits), Outcome.FAILED, 62).workflow
    assert w.deadline == NOW + timedelta(minutes=15) + timedelta(seconds=60) + DEADLINE_SLACK
    assert w.wake_at is not None
    assert w.wake_at > NOW + timedelta(minutes=15)


@pytest.mark.parametrize("reason", ["ResultTooLarge", "TooManyResults"])
def test_results_that_the_environment_does_not_allow_are_not_tried_again(reason: str) -> None:
    assert ended(at(Stage.PUBLISH), Outcome.FAILED, 62, reason).workflow.status == 62


@pytest.mark.parametrize("stage", [Stage.CONFIGURE, Stage.PUBLISH])
@pytest.mark.parametrize("reason", ["Unschedulable", "ImagePullBackOff"])
def test_a_stage_of_ours_that_could_not_start_is_tried_again(stage: Stage, reason: str) -> None:
    halted = decide(at(stage), StageStuck(stage, 1, UID, reason, NOW), NOW + timedelta(hours=1)).workflow
    d = decide(halted, StageLost(stage, 1), NOW)
    assert d.effects == (CreateJob(stage, 2),)
    assert d.closed is not None
    assert d.closed.reason == reason


@pytest.mark.parametrize("stage", [Stage.CONFIGURE, Stage.PUBLISH])
def test_a_job_that_the_cluster_refuses_is_not_asked_for_again(stage: Stage) -> None:
    waits = replace(at(stage), job_uid=None)
    refused = decide(waits, StageEnded(stage, 1, None, Outcome.FAILED, reason="Invalid"), NOW)
    assert CreateJob(stage, 2) not in refused.effects
    assert refused.workflow.ending is not None
    assert refused.workflow.ending.reason == "Invalid"


def test_a_job_that_waited_for_the_whole_queue_time_is_not_created_again() -> None:
    w = decide(at(Stage.CONFIGURE, limits=Limits(queue_seconds=60)), Tick(suspended=True), LONG_AFTER).workflow
    assert decide(w, StageLost(Stage.CONFIGURE, 1), LONG_AFTER).workflow.phase is Phase.PUBLISH


def test_a_failure_before_is_not_hidden_by_a_failed_publish() -> None:
    w = ended(at(Stage.ALGORITHM), Outcome.FAILED, 3, "Error").workflow
    end = ended(replace(w, attempt=5, job_uid=UID), Outcome.FAILED, 62, "ResultUploadFailed")
    assert end.workflow.status == 41


@pytest.mark.parametrize("stage", [Stage.CONFIGURE, Stage.PUBLISH])
def test_a_lost_stage_of_ours_is_tried_again(stage: Stage) -> None:
    d = decide(at(stage), StageLost(stage, 1), NOW)
    assert d.effects == (CreateJob(stage, 2),)
    assert d.closed is not None
    assert d.closed.outcome is Outcome.LOST


def test_a_crashed_configure_is_tried_again_but_bad_data_are_not() -> None:
    assert ended(at(Stage.CONFIGURE), Outcome.FAILED, 137, "Evicted").workflow.attempt == 2
    assert ended(at(Stage.CONFIGURE), Outcome.FAILED, 31).workflow.phase is Phase.PUBLISH
    assert ended(at(Stage.CONFIGURE, attempt=5), Outcome.FAILED, 1).workflow.phase is Phase.PUBLISH


def test_a_lost_algorithm_has_failed() -> None:
    d = decide(at(Stage.ALGORITHM), StageLost(Stage.ALGORITHM, 1), NOW)
    assert d.workflow.ending is not None
    assert (d.workflow.ending.code, d.workflow.ending.reason) == (41, "Lost")


def test_a_job_that_was_never_created_is_not_lost() -> None:
    w = replace(at(Stage.ALGORITHM), job_uid=None)
    assert decide(w, StageLost(Stage.ALGORITHM, 1), NOW).verdict is Verdict.UNCHANGED


@pytest.mark.parametrize(("stage", "status"), [(Stage.ALGORITHM, 41), (Stage.FILTER, 51)])
def test_a_disrupted_algorithm_or_filter_has_failed_and_does_not_run_again(stage: Stage, status: int) -> None:
    d = ended(at(stage, limits=Limits(filtered=True)), Outcome.FAILED, None, "Disrupted")
    assert d.effects == (CreateJob(Stage.PUBLISH, 1),)
    assert failed_with(d) == (status, "Disrupted")


# --- stop and delete ------------------------------------------------------------------------


def test_a_queued_workflow_is_stopped_at_once() -> None:
    w = decide(new(), StopRequested(), NOW).workflow
    assert (w.phase, w.status, w.stop) == (Phase.FINISHED, 70, Stop.REQUESTED)


@pytest.mark.parametrize("stage", [Stage.CONFIGURE, Stage.ALGORITHM, Stage.FILTER])
def test_a_stop_deletes_the_job_and_publishes_once_it_is_gone(stage: Stage) -> None:
    d = decide(at(stage), StopRequested(), NOW)
    assert (d.workflow.phase, d.workflow.stop) == (Phase(stage), Stop.REQUESTED)
    assert d.effects == (DeleteJob(stage, 1),)
    gone = decide(d.workflow, StageLost(stage, 1), NOW)
    assert gone.workflow.phase is Phase.PUBLISH
    end = ended(replace(gone.workflow, job_uid=UID), Outcome.SUCCEEDED, 0, manifest=MANIFEST).workflow
    assert end.ending is not None
    assert (end.status, end.stop, end.ending.reason) == (70, Stop.REQUESTED, "StopRequested")


def test_a_stop_wins_over_a_completion_that_comes_later() -> None:
    w = decide(at(Stage.CONFIGURE), StopRequested(), NOW).workflow
    assert ended(w, Outcome.SUCCEEDED, 0).workflow.phase is Phase.PUBLISH


def test_a_stop_while_publishing_lets_publish_end() -> None:
    d = decide(at(Stage.PUBLISH), StopRequested(), NOW)
    assert (d.workflow.halt, d.workflow.stop, d.effects) == (None, Stop.REQUESTED, ())


def test_a_second_stop_is_a_duplicate() -> None:
    w = decide(at(Stage.ALGORITHM), StopRequested(), NOW).workflow
    assert decide(w, StopRequested(), NOW).verdict is Verdict.DUPLICATE


@pytest.mark.parametrize("stage", list(Stage))
def test_a_deleted_workflow_publishes_nothing(stage: Stage) -> None:
    d = decide(at(stage), DeleteRequested(), NOW)
    assert d.effects == (DeleteJob(stage, 1),)
    end = decide(d.workflow, StageLost(stage, 1), NOW)
    assert (end.workflow.phase, end.workflow.removed, end.workflow.stop) == (Phase.FINISHED, True, Stop.REQUESTED)
    assert RemoveResults() in end.effects


def test_deleting_a_finished_workflow_removes_its_results_and_keeps_its_end() -> None:
    w = ended(at(Stage.PUBLISH), Outcome.SUCCEEDED, 0, manifest=MANIFEST).workflow
    d = decide(w, DeleteRequested(), LONG_AFTER)
    assert RemoveResults() in d.effects
    assert (d.workflow.removed, d.workflow.status, d.workflow.stop) == (True, 70, Stop.NONE)


# --- time -----------------------------------------------------------------------------------


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


def failed_with(d: Decision) -> tuple[int, str]:
    assert d.workflow.ending is not None
    return d.workflow.ending.code, d.workflow.ending.reason


def waiting(stage: Stage, reason: str = "ImagePullBackOff", limits: Limits | None = None) -> Workflow:
    """A workflow whose `stage` was seen to wait and may go on waiting."""
    return decide(at(stage, limits=limits), StageStuck(stage, 1, UID, reason, NOW), NOW).workflow


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


def test_a_workflow_object_is_told_of_every_change() -> None:
    w = replace(at(Stage.ALGORITHM), reported=True)
    for each in (StopRequested(), StageLost(Stage.ALGORITHM, 1)):
        observation: Observation = each
        assert Report() in decide(w, observation, NOW).effects
