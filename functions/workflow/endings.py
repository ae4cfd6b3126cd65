"""The ends of stages and workflows: whether another attempt may help, and the reason that is given. Pure."""

from __future__ import annotations

from datetime import datetime

from msgspec.structs import replace

from functions.workflow import hold_rules
from functions.workflow.codes import Code
from functions.workflow.model import Ending, Manifest, Outcome, Stage, Workflow
from functions.workflow.observation import StageEnded
from functions.workflow.steps import may_be_held
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
            *("OutputForbidden", "OutputRefused"),
            *("InvalidTask", "InternalError", "QueueTimeout"),
        }
    )
    | hold_rules.FINAL_RELEASE_REASONS
)


def may_retry(w: Workflow, end: StageEnded) -> bool:
    """Whether another attempt may help: only our own idempotent programs run again, and only if the cause may pass.

    A Job that was never created was refused for good, or its creation was tried for long enough.
    """
    if not end.stage.is_ours or not may_follow(w.limits, end.stage, w.attempt):
        return False
    if end.outcome is Outcome.LOST:
        return True
    refused = w.job_uid is None and end.exit_code is None
    final = end.reason in FINAL_REASONS or (end.stage is Stage.CONFIGURE and end.exit_code in FINAL_CONFIGURE_CODES)
    return end.outcome is Outcome.FAILED and not refused and not final


def of_outputs(manifest: Manifest) -> Ending | None:
    """The ending of a TES task that succeeded without making or delivering all of its declared outputs."""
    if not (manifest.missing or manifest.refused):
        return None
    return Ending(Code.UPLOAD_FAILED, "OutputMissing" if manifest.missing else "OutputRefused")


# Reasons of a container that was not killed: its program exited, or could not be started.
_OWN_END = ("", "Error", "StartError", "ContainerCannotRun")


def reason_of(w: Workflow, end: StageEnded) -> str:
    """Return the reason that is recorded: one word, such as `AlgorithmExit:3`; empty for a success."""
    if end.outcome is Outcome.SUCCEEDED:
        return ""
    if not end.stage.is_ours and _has_exited(end) and end.reason in ("", "Error"):
        name = "Executor" if end.stage is Stage.ALGORITHM and w.limits.ignore_errors else end.stage.capitalize()
        return f"{name}Exit:{end.exit_code}"
    return end.reason or end.outcome.value


def with_allowed_image(w: Workflow, end: StageEnded) -> StageEnded:
    """The end of an algorithm: a failure if it did not run with the image that a policy demands."""
    wanted = "".join(w.limits.images[w.executor : w.executor + 1])
    if end.stage is not Stage.ALGORITHM or end.outcome in (Outcome.STOPPED, Outcome.LOST) or not wanted:
        return end
    ran = {end.facts[name] for name in ("image", "imageAsked") if name in end.facts}
    if wanted in ran or (not ran and end.outcome is not Outcome.SUCCEEDED):
        return end
    reason = "AlgorithmNotAllowed" if ran else "ImageUnknown"
    return replace(end, outcome=Outcome.FAILED, exit_code=None, reason=reason, oom_killed=False)


def is_forgiven(w: Workflow, end: StageEnded) -> bool:
    """Whether `ignore_error` covers this failure: the program of the executor ended by itself, with an exit code."""
    if end.stage is not Stage.ALGORITHM or not any(w.limits.ignore_errors[w.executor : w.executor + 1]):
        return False
    return _has_exited(end) and end.reason in _OWN_END


def _has_exited(end: StageEnded) -> bool:
    """Whether the program failed with an exit code of its own."""
    return end.outcome is Outcome.FAILED and end.exit_code is not None and not end.oom_killed


def ending(end: StageEnded, reason: str) -> Ending:
    """The ending of the workflow if it ends because of this attempt."""
    if end.outcome is Outcome.STOPPED:
        return Ending(Code.FINISHED, reason)
    match end.stage:
        case Stage.CONFIGURE:
            code = FINAL_CONFIGURE_CODES.get(end.exit_code or 0, Code.DATA_FAILED)
        case Stage.ALGORITHM:
            code = Code.FINISHED if end.outcome is Outcome.TIMED_OUT else Code.ALGORITHM_FAILED
        case Stage.FILTER | Stage.CHECK:
            code = Code.FILTER_REFUSED
        case Stage.PUBLISH | Stage.RELEASE:
            code = Code.UPLOAD_FAILED
    return Ending(code, reason, end.exit_code, end.oom_killed)


def withholds_exit_codes(w: Workflow) -> bool:
    """Whether a policy decides about what leaves."""
    return w.limits.checked or may_be_held(w)


def told_ending(w: Workflow) -> Ending | None:
    """The ending as the consumer is told it.

    Where a policy decides about what leaves, an algorithm must not pass data on in its exit code.
    """
    ending = w.ending
    if ending is None or ending.exit_code is None or not withholds_exit_codes(w):
        return ending
    return replace(ending, reason=ending.reason.partition(":")[0], exit_code=None)


def told_time(w: Workflow, at: datetime) -> datetime:
    """A time as the consumer is told it: cut to the minute if a policy decides what leaves.

    An algorithm chooses the second in which it ends, and could pass data on in it.
    """
    return to_minute(at) if withholds_exit_codes(w) else at


def to_minute(at: datetime) -> datetime:
    """Cut a time to the minute."""
    return at.replace(second=0, microsecond=0)


def stopped_ending(w: Workflow) -> Ending:
    return w.ending or Ending(Code.FINISHED, "StopRequested")
