"""The GA4GH TES state of a task in each state of its workflow."""

import pytest
from msgspec.structs import replace
from support.rules import NOW, at, new

from functions.workflow.model import Ending, Limits, Phase, Stage, Stop, Workflow
from functions.workflow.tes_state import state_of

TASK = Limits(ignore_errors=(False, False))


def _at(stage: Stage, **fields: object) -> Workflow:
    return replace(at(stage, limits=TASK), **fields)


def _finished(ending: Ending | None = None, stop: Stop = Stop.NONE) -> Workflow:
    return replace(new(TASK), phase=Phase.FINISHED, ending=ending, stop=stop, finished_at=NOW)


@pytest.mark.parametrize(
    ("workflow", "state"),
    [
        (new(TASK), "QUEUED"),
        (_at(Stage.CONFIGURE), "INITIALIZING"),
        (_at(Stage.ALGORITHM), "INITIALIZING"),
        (_at(Stage.ALGORITHM, runs_since=NOW), "RUNNING"),
        (_at(Stage.ALGORITHM, executor=1), "RUNNING"),
        (_at(Stage.FILTER), "RUNNING"),
        (_at(Stage.CHECK), "RUNNING"),
        (_at(Stage.PUBLISH), "RUNNING"),
        (replace(new(TASK), phase=Phase.HELD), "RUNNING"),
        (_at(Stage.RELEASE), "RUNNING"),
        (_at(Stage.CONFIGURE, stop=Stop.REQUESTED), "CANCELED"),
        (_at(Stage.ALGORITHM, stop=Stop.REQUESTED), "CANCELING"),
        (_at(Stage.PUBLISH, stop=Stop.REQUESTED), "CANCELED"),
        (_finished(Ending(70, "StopRequested"), Stop.REQUESTED), "CANCELED"),
        (_finished(None, Stop.REQUESTED), "CANCELED"),
        (_finished(), "COMPLETE"),
        (_finished(Ending(41, "ExecutorExit:3", 3)), "EXECUTOR_ERROR"),
        (_finished(Ending(41, "OOMKilled", 137, oom_killed=True)), "EXECUTOR_ERROR"),
        (_finished(Ending(41, "Evicted", 137)), "SYSTEM_ERROR"),
        (_finished(Ending(41, "Disrupted")), "SYSTEM_ERROR"),
        (_finished(Ending(41, "ImagePullBackOff")), "SYSTEM_ERROR"),
        (_finished(Ending(41, "Lost")), "SYSTEM_ERROR"),
        (_finished(Ending(70, "DeadlineExceeded"), Stop.TIMED_OUT), "SYSTEM_ERROR"),
        (_finished(Ending(2, "QueueTimeout")), "SYSTEM_ERROR"),
        (_finished(Ending(31, "DataUnavailable", 31)), "SYSTEM_ERROR"),
        (_finished(Ending(51, "FilterExit:1", 1)), "SYSTEM_ERROR"),
        (_finished(Ending(62, "OutputMissing")), "SYSTEM_ERROR"),
    ],
)
def test_each_state_of_a_workflow_has_one_state_in_tes(workflow: Workflow, state: str) -> None:
    assert state_of(workflow) == state
