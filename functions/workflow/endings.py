"""How stages and workflows end: whether another attempt may help, and what the consumer is told. Pure."""

from __future__ import annotations

from functions.workflow import hold_rules
from functions.workflow.codes import Code
from functions.workflow.model import Ending, Outcome, Stage, Workflow
from functions.workflow.timing import may_follow

# Exit codes of the configure program for which a retry cannot help: the data or the algorithm is at fault.
FINAL_CONFIGURE_CODES = {
    int(Code.DATA_FAILED): Code.DATA_FAILED,
    int(Code.ALGORITHM_PROVISIONING_FAILED): Code.ALGORITHM_PROVISIONING_FAILED,
}
# Reasons for which a retry cannot help: a limit of the environment, outputs that cannot be published as they are, an
# unreadable task, a bug, and the end of the queue time.
FINAL_REASONS = (
    frozenset(
        {
            *("ResultTooLarge", "TooManyResults", "TreeTooDeep", "OutputUnreadable"),
            *("InvalidTask", "InternalError", "QueueTimeout"),
        }
    )
    | hold_rules.FINAL_RELEASE_REASONS
)


def may_retry(w: Workflow, stage: Stage, outcome: Outcome, exit_code: int | None, reason: str) -> bool:
    """Whether another attempt may help: only our own idempotent programs run again, and only if the cause may pass.

    A Job that was never created was refused for good, or its creation was tried for long enough.
    """
    if not stage.is_ours or not may_follow(w.limits, stage, w.attempt):
        return False
    if outcome is Outcome.LOST:
        return True
    refused = w.job_uid is None and exit_code is None
    final = reason in FINAL_REASONS or (stage is Stage.CONFIGURE and exit_code in FINAL_CONFIGURE_CODES)
    return outcome is Outcome.FAILED and not refused and not final


# Reasons for which a container ends by itself, with its program's exit code or that of the attempt to start it.
_OWN_END = ("", "Error", "StartError", "ContainerCannotRun")


def reason_of(w: Workflow, stage: Stage, outcome: Outcome, exit_code: int | None, reason: str, oom_killed: bool) -> str:
    """Why a stage ended so, in one word; empty for a success."""
    if outcome is Outcome.SUCCEEDED:
        return ""
    if not stage.is_ours and outcome is Outcome.FAILED and exit_code is not None and not oom_killed:
        name = "Executor" if stage is Stage.ALGORITHM and w.limits.ignore_errors else stage.capitalize()
        return f"{name}Exit:{exit_code}" if reason in ("", "Error") else reason
    return reason or outcome.value


def is_forgiven(
    w: Workflow, stage: Stage, outcome: Outcome, exit_code: int | None, reason: str, oom_killed: bool
) -> bool:
    """Whether the task goes on although this executor failed: only if its program itself has ended, with a code."""
    if stage is not Stage.ALGORITHM or not any(w.limits.ignore_errors[w.executor : w.executor + 1]):
        return False
    return outcome is Outcome.FAILED and exit_code is not None and not oom_killed and reason in _OWN_END


def ending(stage: Stage, outcome: Outcome, exit_code: int | None, reason: str, oom_killed: bool) -> Ending:
    if outcome is Outcome.STOPPED:
        return Ending(Code.FINISHED, reason)
    match stage:
        case Stage.CONFIGURE:
            code = FINAL_CONFIGURE_CODES.get(exit_code or 0, Code.DATA_FAILED)
        case Stage.ALGORITHM:
            code = Code.FINISHED if outcome is Outcome.TIMED_OUT else Code.ALGORITHM_FAILED
        case Stage.FILTER | Stage.CHECK:
            code = Code.FILTER_REFUSED
        case Stage.PUBLISH | Stage.RELEASE:
            code = Code.UPLOAD_FAILED
    return Ending(code, reason, exit_code, oom_killed)


def stopped_ending(w: Workflow) -> Ending:
    return w.ending or Ending(Code.FINISHED, "StopRequested")
