"""The GA4GH TES state of a task, derived from its workflow. Pure."""

from __future__ import annotations

from enum import StrEnum

from functions.workflow.codes import Code
from functions.workflow.model import Ending, Phase, Stop, Workflow

# Ends of a container that its program is not to blame for, although it has an exit code.
_KILLED_BY_SYSTEM = frozenset({"Evicted", "Disrupted"})


class TesState(StrEnum):
    """The states that tasks here can have. PAUSED and PREEMPTED are not among them: no client handles them well."""

    QUEUED = "QUEUED"
    INITIALIZING = "INITIALIZING"
    RUNNING = "RUNNING"
    CANCELING = "CANCELING"
    CANCELED = "CANCELED"
    COMPLETE = "COMPLETE"
    EXECUTOR_ERROR = "EXECUTOR_ERROR"
    SYSTEM_ERROR = "SYSTEM_ERROR"


def state_of(workflow: Workflow) -> TesState:
    """Return the state. A canceled task is CANCELED as soon as no executor of it can run."""
    if workflow.stop is Stop.REQUESTED:
        return TesState.CANCELING if workflow.phase is Phase.ALGORITHM else TesState.CANCELED
    match workflow.phase:
        case Phase.QUEUED:
            return TesState.QUEUED
        case Phase.CONFIGURE:
            return TesState.INITIALIZING
        case Phase.ALGORITHM if _may_not_have_begun(workflow):
            return TesState.INITIALIZING
        case Phase.FINISHED:
            return TesState.COMPLETE if workflow.ending is None else _failed(workflow.ending)
        case _:
            return TesState.RUNNING


def _may_not_have_begun(workflow: Workflow) -> bool:
    """Whether no executor is known to have run. A Job that is being deleted has mostly run."""
    return workflow.executor == 0 and workflow.runs_since is None and workflow.halt is None


def _failed(ending: Ending) -> TesState:
    """EXECUTOR_ERROR if a program has ended with an exit code: some clients read it then."""
    by_program = ending.code == Code.ALGORITHM_FAILED and ending.exit_code is not None
    blamed = by_program and ending.reason not in _KILLED_BY_SYSTEM
    return TesState.EXECUTOR_ERROR if blamed else TesState.SYSTEM_ERROR
