"""The table of docs/architecture.md, row by row."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from support.rules import LONG_AFTER, MANIFEST, NOW, UID, at, ended, failed_with, new

from functions.workflow.codes import Code
from functions.workflow.decide import decide
from functions.workflow.decision import CleanUp, CreateJob, Emit, Report, Verdict
from functions.workflow.hold_rules import scope
from functions.workflow.model import Limits, Manifest, Outcome, Phase, Scope, Stage, Stop
from functions.workflow.observation import (
    Admitted,
    Observation,
    StageEnded,
    StageLost,
    StageStuck,
    StopRequested,
    Tick,
)
from functions.workflow.timing import ATTEMPT_PAUSES, DEADLINE_SLACK, pause, remaining


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
    assert d.effects == (CreateJob(Stage.PUBLISH, 2, after=pause(Limits(), 2)),)
    end = ended(at(Stage.PUBLISH, attempt=5), Outcome.FAILED, 62, "ResultUploadFailed")
    assert end.workflow.status == 62
    assert end.manifest is None


def test_further_attempts_wait_longer_and_longer_for_more_than_twenty_minutes_in_all() -> None:
    pauses = [timedelta(seconds=pause(Limits(), attempt)) for attempt in range(2, Limits().attempts + 1)]
    assert pauses[0] > timedelta()
    assert pauses == sorted(pauses)
    assert sum(pauses, timedelta()) > timedelta(minutes=20)
    assert pause(Limits(attempts=100), 99) == ATTEMPT_PAUSES.longest


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
    assert d.effects == (CreateJob(stage, 2, after=pause(Limits(), 2)),)
    assert d.closed is not None
    assert d.closed.reason == reason


@pytest.mark.parametrize("stage", [Stage.CONFIGURE, Stage.PUBLISH])
def test_a_job_that_the_cluster_refuses_is_not_asked_for_again(stage: Stage) -> None:
    waits = replace(at(stage), job_uid=None)
    refused = decide(waits, StageEnded(stage, 1, None, Outcome.FAILED, reason="Invalid"), NOW)
    assert not any(isinstance(effect, CreateJob) and effect.stage is stage for effect in refused.effects)
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
    assert d.effects == (CreateJob(stage, 2, after=pause(Limits(), 2)),)
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


def test_a_workflow_object_is_told_of_every_change() -> None:
    w = replace(at(Stage.ALGORITHM), reported=True)
    for each in (StopRequested(), StageLost(Stage.ALGORITHM, 1)):
        observation: Observation = each
        assert Report() in decide(w, observation, NOW).effects


# --- the executors of a task ----------------------------------------------------------------

TASK = Limits(algorithm_seconds=100, ignore_errors=(True, False))


def test_an_executor_that_succeeds_is_followed_by_the_next_one() -> None:
    d = ended(at(Stage.ALGORITHM, limits=TASK), Outcome.SUCCEEDED, 0)
    assert d.effects == (CreateJob(Stage.ALGORITHM, 1, 1),)
    assert (d.workflow.phase, d.workflow.executor, d.workflow.attempt) == (Phase.ALGORITHM, 1, 1)
    assert [line.event for line in d.lines] == ["executor 1 succeeded"]


def test_the_last_executor_is_followed_by_publish() -> None:
    d = ended(at(Stage.ALGORITHM, limits=TASK, executor=1), Outcome.SUCCEEDED, 0)
    assert d.effects == (CreateJob(Stage.PUBLISH, 1),)


def test_an_error_that_may_be_ignored_is_recorded_and_the_next_executor_runs() -> None:
    d = ended(at(Stage.ALGORITHM, limits=TASK), Outcome.FAILED, 3, "Error")
    assert d.workflow.executor == 1
    assert d.workflow.ending is None
    assert d.closed is not None
    assert (d.closed.exit_code, d.closed.reason, d.closed.executor) == (3, "ExecutorExit:3", 0)


@pytest.mark.parametrize(
    ("outcome", "exit_code", "reason", "oom"),
    [
        (Outcome.FAILED, 137, "OOMKilled", True),
        (Outcome.FAILED, 137, "Evicted", False),
        (Outcome.FAILED, None, "Disrupted", False),
        (Outcome.TIMED_OUT, None, "DeadlineExceeded", False),
        (Outcome.LOST, None, "Lost", False),
    ],
)
def test_ignore_error_never_forgives_what_is_not_the_programs_own_end(
    outcome: Outcome, exit_code: int | None, reason: str, oom: bool
) -> None:
    """F47"""
    d = ended(at(Stage.ALGORITHM, limits=TASK), outcome, exit_code, reason, oom_killed=oom)
    assert d.workflow.phase is Phase.PUBLISH
    assert failed_with(d)[1] == reason


def test_an_error_that_must_not_be_ignored_ends_the_task() -> None:
    d = ended(at(Stage.ALGORITHM, limits=TASK, executor=1), Outcome.FAILED, 3, "Error")
    assert d.workflow.phase is Phase.PUBLISH
    assert failed_with(d) == (Code.ALGORITHM_FAILED, "ExecutorExit:3")


def test_a_late_event_of_an_earlier_executor_changes_nothing() -> None:
    """F47"""
    w = at(Stage.ALGORITHM, limits=TASK, executor=1)
    late = decide(w, StageEnded(Stage.ALGORITHM, 1, UID, Outcome.FAILED, 1, executor=0), NOW)
    assert (late.workflow, late.verdict) == (w, Verdict.DUPLICATE)


def test_after_a_stop_no_further_executor_starts() -> None:
    """F48"""
    stopped = decide(at(Stage.ALGORITHM, limits=TASK), StopRequested(), NOW).workflow
    d = decide(stopped, StageEnded(Stage.ALGORITHM, 1, UID, Outcome.SUCCEEDED, 0), NOW)
    assert d.workflow.phase is Phase.PUBLISH


def test_the_time_limit_counts_for_all_executors_together() -> None:
    w = at(Stage.ALGORITHM, limits=TASK)
    w = replace(w, job_created_at=NOW - timedelta(seconds=80))
    d = ended(w, Outcome.SUCCEEDED, 0, started_at=NOW - timedelta(seconds=70), ended_at=NOW)
    assert d.closed is not None
    assert d.closed.started_at == NOW - timedelta(seconds=70)
    assert remaining(d.workflow).algorithm_seconds == 30
    running = decide(replace(d.workflow, job_uid=UID, job_created_at=NOW), Tick(runs_since=NOW), NOW).workflow
    assert running.deadline == NOW + timedelta(seconds=30)


def test_a_task_without_a_declared_output_has_failed_and_is_not_published_again() -> None:
    d = ended(at(Stage.PUBLISH, limits=TASK), Outcome.SUCCEEDED, 0, manifest=Manifest(missing=("/work/out.txt",)))
    assert d.workflow.finished
    assert failed_with(d) == (Code.UPLOAD_FAILED, "OutputMissing")
    assert d.manifest is not None


def test_a_missing_output_of_a_failed_task_does_not_hide_what_went_wrong_first() -> None:
    failed = ended(at(Stage.ALGORITHM, limits=TASK, executor=1), Outcome.FAILED, 3, "Error").workflow
    publishing = replace(failed, job_uid=UID, job_created_at=NOW)
    d = ended(publishing, Outcome.SUCCEEDED, 0, manifest=Manifest(missing=("/work/out.txt",)))
    assert failed_with(d) == (Code.ALGORITHM_FAILED, "ExecutorExit:3")
