"""What a stop and a delete come to in each stage."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from support.rules import LONG_AFTER, MANIFEST, NOW, UID, at, ended, new

from functions.workflow.decide import decide
from functions.workflow.decision import DeleteJob, RemoveResults, Verdict
from functions.workflow.model import Outcome, Phase, Stage, Stop
from functions.workflow.observation import (
    DeleteRequested,
    StageLost,
    StopRequested,
    Tick,
)


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


def test_a_queued_workflow_is_deleted_at_once() -> None:
    d = decide(new(), DeleteRequested(), NOW)
    assert (d.workflow.phase, d.workflow.status, d.workflow.removed) == (Phase.FINISHED, 70, True)
    assert not any(isinstance(effect, DeleteJob) for effect in d.effects)


def test_a_second_delete_is_a_duplicate() -> None:
    w = decide(at(Stage.ALGORITHM), DeleteRequested(), NOW).workflow
    again = decide(w, DeleteRequested(), NOW)
    assert (again.verdict, again.workflow, again.effects) == (Verdict.DUPLICATE, w, ())


def test_a_pod_that_still_runs_gives_a_halted_stage_no_more_time() -> None:
    w = decide(replace(at(Stage.ALGORITHM), runs_since=None), StopRequested(), NOW).workflow
    assert w.halt is not None
    seen = decide(w, Tick(runs_since=NOW), NOW + timedelta(seconds=1)).workflow
    assert replace(seen, wake_at=w.wake_at) == w


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
