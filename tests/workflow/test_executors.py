"""The executors of a GA4GH TES task: their time, their names, and whose errors are forgiven."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from msgspec.structs import replace
from support.rules import MANIFEST, NOW, UID, at, ended, failed_with

from functions.workflow.decide import decide
from functions.workflow.decision import CreateJob, DeleteJob
from functions.workflow.model import Ending, Hold, Limits, Manifest, Outcome, Stage, Workflow
from functions.workflow.observation import DeleteRequested, StageEnded, StageLost, StopRequested, Tick
from functions.workflow.timing import CHECK_AFTER, remaining

TASK = Limits(ignore_errors=(True, False), algorithm_seconds=60)


def later(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("runs_since", "created_at", "left"),
    [(later(10), NOW, 40), (None, NOW, 30), (None, None, 60)],
    ids=["runs", "was never seen to run", "creation not recorded"],
)
def test_an_executor_uses_up_the_time_since_its_start(
    runs_since: datetime | None, created_at: datetime | None, left: int
) -> None:
    w = replace(at(Stage.ALGORITHM, limits=TASK), runs_since=runs_since, job_created_at=created_at)
    d = decide(w, StageEnded(Stage.ALGORITHM, 1, UID, Outcome.FAILED, 3, "Error", ended_at=later(30)), later(30))
    assert (d.workflow.executor, 60 - d.workflow.ran_seconds) == (1, left)
    assert d.effects == (CreateJob(Stage.ALGORITHM, 1, executor=1),)
    assert [(line.event, line.reason) for line in d.lines] == [("executor 1 failed", "ExecutorExit:3")]


def test_an_executor_always_has_a_second_left() -> None:
    w = at(Stage.ALGORITHM, limits=TASK)
    spent = decide(w, StageEnded(Stage.ALGORITHM, 1, UID, Outcome.SUCCEEDED, 0), later(90)).workflow
    assert remaining(spent).algorithm_seconds == 1


def test_only_the_failed_executors_own_mark_forgives_its_error() -> None:
    def failed(marks: tuple[bool, ...], exit_code: int | None = 3, **more: object) -> Workflow:
        w = at(Stage.ALGORITHM, limits=Limits(ignore_errors=marks))
        return ended(w, Outcome.FAILED, exit_code, "Error", **more).workflow

    assert failed((True,)).ending is None
    assert failed((False, True)).ending is not None
    assert failed((True,), None).ending is not None
    assert failed((True,), 137, oom_killed=True).ending is not None
    assert ended(at(Stage.CONFIGURE, 5, TASK), Outcome.FAILED, 1, "Error").workflow.ending is not None


def test_a_finished_task_has_no_current_executor() -> None:
    halted = decide(at(Stage.ALGORITHM, executor=1, limits=TASK), DeleteRequested(), NOW).workflow
    assert decide(halted, StageLost(Stage.ALGORITHM, 1, 1), NOW).workflow.executor == 0


def test_only_the_algorithm_of_a_task_is_called_an_executor() -> None:
    refused = ended(at(Stage.FILTER, limits=replace(TASK, filtered=True)), Outcome.FAILED, 3)
    assert failed_with(refused)[1] == "FilterExit:3"
    assert ended(at(Stage.CONFIGURE, limits=TASK), Outcome.SUCCEEDED, 0).lines[0].event == "configure succeeded"
    assert ended(at(Stage.ALGORITHM), Outcome.SUCCEEDED, 0).lines[0].event == "algorithm succeeded"


@pytest.mark.parametrize("hold", [Hold.NEVER, Hold.ALWAYS])
def test_a_task_that_lacks_an_output_publishes_the_others_unless_they_must_be_held(hold: Hold) -> None:
    written = replace(MANIFEST, missing=("/out/b",), admin_files=MANIFEST.files)
    d = ended(
        at(Stage.PUBLISH, limits=replace(TASK, hold=hold, hold_seconds=60)), Outcome.SUCCEEDED, 0, manifest=written
    )
    assert failed_with(d) == (62, "OutputMissing")
    assert d.manifest == (written if hold is Hold.NEVER else Manifest(admin_files=MANIFEST.files))


@pytest.mark.parametrize("hold", [Hold.NEVER, Hold.ALWAYS])
def test_a_task_whose_output_was_refused_publishes_the_others_unless_they_must_be_held(hold: Hold) -> None:
    written = replace(MANIFEST, refused=("/out/b",), admin_files=MANIFEST.files)
    publishing = at(Stage.PUBLISH, limits=replace(TASK, hold=hold, hold_seconds=60))
    d = ended(publishing, Outcome.SUCCEEDED, 0, manifest=written)
    assert failed_with(d) == (62, "OutputRefused")
    assert d.manifest == (written if hold is Hold.NEVER else Manifest(admin_files=MANIFEST.files))
    failed = ended(replace(publishing, ending=Ending(41, "ExecutorExit:3", 3)), Outcome.SUCCEEDED, 0, manifest=written)
    assert failed_with(failed) == (41, "ExecutorExit:3")


def test_an_executor_that_is_stopped_while_it_runs_keeps_its_start() -> None:
    running = decide(at(Stage.ALGORITHM, limits=TASK), Tick(runs_since=later(2)), later(10)).workflow
    halted = decide(running, StopRequested(), later(20)).workflow
    assert halted.wake_at == later(20) + CHECK_AFTER
    gone = decide(halted, StageLost(Stage.ALGORITHM, 1), later(21))
    assert gone.closed is not None
    assert (gone.closed.outcome, gone.closed.started_at) == (Outcome.STOPPED, later(2))


def test_an_executor_that_is_stopped_before_it_runs_has_no_start() -> None:
    halted = decide(at(Stage.ALGORITHM, limits=TASK), StopRequested(), later(20)).workflow
    gone = decide(halted, StageLost(Stage.ALGORITHM, 1), later(21))
    assert gone.closed is not None
    assert gone.closed.started_at is None


def test_a_stopped_executor_is_deleted_by_its_number() -> None:
    d = decide(at(Stage.ALGORITHM, executor=1, limits=TASK), StopRequested(), NOW)
    assert d.effects == (DeleteJob(Stage.ALGORITHM, 1, executor=1),)
