"""The rules: what an observation makes of a workflow. Pure and total.

`decide` never raises; what cannot change the workflow comes back as itself, with a verdict that says why.
The table it implements is in docs/architecture.md.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from functions.workflow import steps, timing
from functions.workflow.codes import Code
from functions.workflow.decision import AttemptEnd, CleanUp, Decision, Emit, RemoveResults, Verdict
from functions.workflow.model import Ending, Manifest, Outcome, Phase, Scope, Stage, Stop, Workflow
from functions.workflow.observation import (
    Admitted,
    DeleteRequested,
    Observation,
    StageEnded,
    StageLost,
    StageObservation,
    StageStuck,
    StopRequested,
    Tick,
)

# Exit codes of the configure program that no retry can mend: the data or the algorithm is at fault.
FINAL_CONFIGURE_CODES = {
    int(Code.DATA_FAILED): Code.DATA_FAILED,
    int(Code.ALGORITHM_PROVISIONING_FAILED): Code.ALGORITHM_PROVISIONING_FAILED,
}
# What no pause mends: a limit of the environment, and a queue's time that is over.
FINAL_REASONS = frozenset({"ResultTooLarge", "TooManyResults", "QueueTimeout"})
_ORDER = list(Stage)
_THEIRS = (Stage.ALGORITHM, Stage.FILTER)  # not our programs: they say no more than an exit code


def submit(workflow: Workflow, now: datetime) -> Decision:
    """The first line of a new workflow: it is queued, even if a slot is given to it the moment after."""
    limit = timing.queue_deadline(workflow)
    queued = replace(workflow, deadline=limit, wake_at=limit)
    return steps.applied(queued, queued, "submitted", now)


def decide(workflow: Workflow, seen: Observation, now: datetime) -> Decision:
    """What `seen` makes of `workflow` at `now`."""
    match seen:
        case Admitted():
            return _admitted(workflow, now)
        case StopRequested():
            return _stop(workflow, now)
        case DeleteRequested():
            return _delete(workflow, now)
        case Tick():
            return _tick(workflow, seen, now)
        case StageEnded() | StageStuck() | StageLost():
            irrelevant = _irrelevance(workflow, seen)
            return Decision(workflow, irrelevant) if irrelevant else _stage_seen(workflow, seen, now)
        case _:
            assert_never(seen)


def scope(workflow: Workflow) -> Scope:
    """What the publish stage of this workflow may let out.

    Where there is a filter, only outputs that it has passed leave: after a failure or a stop nothing does, and never
    what the algorithm has printed, which may be the data themselves.
    """
    ending, filtered = workflow.ending, workflow.limits.filtered
    if ending is None:
        return Scope.OUTPUTS if filtered else Scope.ALL
    unprovided = ending.code in (Code.DATA_FAILED, Code.ALGORITHM_PROVISIONING_FAILED)
    return Scope.ADMIN_LOGS if filtered or unprovided else Scope.ALL


# --- admission, stop, delete, time ----------------------------------------------------------


def _admitted(w: Workflow, now: datetime) -> Decision:
    if w.phase is not Phase.QUEUED:
        return Decision(w, Verdict.LATE if w.finished else Verdict.DUPLICATE)
    return steps.start(w, Stage.CONFIGURE, "admitted", now, extra=(Emit("started"),))


def _stop(w: Workflow, now: datetime) -> Decision:
    if w.finished:
        return Decision(w, Verdict.LATE)
    if w.stop is not Stop.NONE:
        return Decision(w, Verdict.DUPLICATE)
    stopped = replace(w, stop=Stop.REQUESTED)
    if w.phase is Phase.QUEUED:
        return steps.finish(w, replace(stopped, ending=_stopped_ending(w)), "stop requested", now)
    if w.phase is Phase.PUBLISH:  # nothing left to stop; what was computed is being handed out
        return steps.applied(w, stopped, "stop requested", now)
    return steps.halt(w, stopped, Outcome.STOPPED, "StopRequested", "stop requested", now)


def _delete(w: Workflow, now: datetime) -> Decision:
    if w.removed:
        return Decision(w, Verdict.DUPLICATE)
    removed = replace(w, removed=True)
    if w.finished:
        return steps.applied(
            w, replace(removed, wake_at=None), "delete requested", now, effects=(CleanUp(), RemoveResults())
        )
    stopped = replace(removed, stop=w.stop or Stop.REQUESTED)
    if w.phase is Phase.QUEUED:
        return steps.finish(w, replace(stopped, ending=_stopped_ending(w)), "delete requested", now)
    return steps.halt(w, stopped, Outcome.STOPPED, "DeleteRequested", "delete requested", now)


def _tick(w: Workflow, tick: Tick, now: datetime) -> Decision:
    if w.finished:
        return _expire(w, now)
    if tick.suspended and w.stage is not None and w.halt is None:
        return _wait_suspended(w, w.stage, now)
    if tick.runs_since is not None and w.stage is not None and w.halt is None:
        w = steps.running(w, w.stage, tick.runs_since, now)
    if not timing.overdue(w, now):
        return _look_again(w, timing.next_check(w, now))
    if w.phase is Phase.QUEUED:
        expired = Ending(Code.QUEUE_EXPIRED, "QueueTimeout")
        return steps.finish(w, replace(w, ending=expired), "queue time is over", now)
    if w.halt is not None:  # deleted long ago and still there: go on without it
        return _stage_over(w, w.halt.outcome, None, w.halt.reason, now, gone=False)
    if _never_ran(w):
        return steps.halt(w, w, Outcome.FAILED, w.waiting, f"{w.phase} stuck", now)
    return steps.halt(w, w, Outcome.TIMED_OUT, "DeadlineExceeded", "deadline exceeded", now)


def _never_ran(w: Workflow) -> bool:
    """What has not begun cannot have taken too long: it has failed with the reason that it waited for."""
    return bool(w.waiting) and w.runs_since is None


def _wait_suspended(w: Workflow, stage: Stage, now: datetime) -> Decision:
    """A suspended Job does not run, so its own clock stands still; only the time to wait is limited."""
    if now >= timing.queue_deadline(w):
        return steps.halt(w, w, Outcome.FAILED, "QueueTimeout", "queue time is over", now)
    held = replace(w, deadline=timing.stage_deadline(w.limits, stage, now), waiting="", runs_since=None)
    return _look_again(held, now + timing.CHECK_AFTER)


def _expire(w: Workflow, now: datetime) -> Decision:
    # Not by `wake_at`, which a sweep moves when it claims the workflow; it is None where nothing can expire.
    expires = timing.results_expiry(w.limits, w.finished_at) if w.finished_at else None
    if w.wake_at is None or expires is None or now < expires:
        return Decision(w, Verdict.LATE)
    gone = replace(w, expired=True, wake_at=None)
    return steps.applied(w, gone, "results expired", now, effects=(RemoveResults(),))


def _look_again(w: Workflow, at: datetime | None) -> Decision:
    return Decision(replace(w, wake_at=at), Verdict.UNCHANGED)


# --- stages ---------------------------------------------------------------------------------


def _irrelevance(w: Workflow, seen: StageObservation) -> Verdict | None:
    """Why an observation of a stage says nothing about the current attempt; None if it does."""
    if w.finished:
        return Verdict.LATE
    if w.stage is None:
        return Verdict.FOREIGN
    here, there = (_ORDER.index(w.stage), w.attempt), (_ORDER.index(seen.stage), seen.attempt)
    if there != here:
        return Verdict.DUPLICATE if there < here else Verdict.FOREIGN
    uid = None if isinstance(seen, StageLost) else seen.job_uid
    return Verdict.FOREIGN if uid and w.job_uid and uid != w.job_uid else None


def _stage_seen(w: Workflow, seen: StageObservation, now: datetime) -> Decision:
    match seen:
        case StageStuck():
            return _stuck(w, seen, now)
        case StageLost():
            if w.halt is not None:
                return _stage_over(w, w.halt.outcome, None, w.halt.reason, now)
            if w.job_uid is None:  # not created yet, as far as is known: its intent is still open
                return _tick(w, Tick(), now)
            return _stage_over(w, Outcome.LOST, None, "Lost", now)
        case StageEnded():
            # Who asked for a stop must not be told that it came too late: I8. A stage that was
            # halted for another cause and made it all the same has made it.
            if w.halt is not None and (w.halt.outcome is Outcome.STOPPED or seen.outcome is not Outcome.SUCCEEDED):
                return _stage_over(w, w.halt.outcome, None, w.halt.reason, now)
            if seen.outcome is Outcome.TIMED_OUT and _never_ran(w):
                return _stage_over(w, Outcome.FAILED, None, w.waiting, now)
            if w.stage is Stage.PUBLISH and seen.outcome is Outcome.SUCCEEDED and seen.manifest is None:
                # Without its commit mark nothing is published, whatever the exit code says.
                return _stage_over(w, Outcome.FAILED, seen.exit_code, "ManifestMissing", now)
            return _stage_over(w, seen.outcome, seen.exit_code, seen.reason, now, seen.oom_killed, seen.manifest)


def _stuck(w: Workflow, seen: StageStuck, now: datetime) -> Decision:
    drained = seen.reason == "NoPod" and w.runs_since is not None  # its Pod is being replaced
    if w.halt is not None or drained:  # what it waits for is of no interest, only how long it has been there
        return _tick(w, Tick(), now)
    # Every Pod waits a moment for its volume: that it did so does not say that it never ran.
    if seen.reason != "FailedMount" or now >= seen.since + timing.CHECK_AFTER:
        w = replace(w, waiting=seen.reason)
    patience_ends = seen.since + timing.patience(w.limits, seen.reason)
    if now < patience_ends:
        return _look_again(w, min(patience_ends, now + timing.CHECK_AFTER))
    return steps.halt(w, w, Outcome.FAILED, seen.reason, f"{seen.stage} stuck", now)


def _stage_over(
    w: Workflow,
    outcome: Outcome,
    exit_code: int | None,
    reason: str,
    now: datetime,
    oom_killed: bool = False,
    manifest: Manifest | None = None,
    gone: bool = True,
) -> Decision:
    """The current attempt has ended: on to the next stage, the next attempt, or the end.

    `gone`: its Job is; another attempt beside one that may still run would write on the same volume.
    """
    stage = w.stage
    assert stage is not None
    ended = replace(w, halt=None)
    why = reason or outcome.value
    if stage in _THEIRS and outcome is Outcome.FAILED and exit_code is not None and not oom_killed:
        why = f"{stage.capitalize()}Exit:{exit_code}" if reason in ("", "Error") else reason
    closed = AttemptEnd(stage, w.attempt, outcome, exit_code, "" if outcome is Outcome.SUCCEEDED else why, now)
    event = f"{stage} {outcome}"
    if w.removed:
        return replace(steps.finish(w, replace(ended, ending=_stopped_ending(w)), event, now, why), closed=closed)
    if outcome is Outcome.SUCCEEDED:
        return replace(_succeeded(ended, stage, event, now, manifest), closed=closed)
    if gone and _may_retry(w, stage, outcome, exit_code, reason):
        return replace(steps.start(ended, stage, event, now, attempt=w.attempt + 1, reason=why), closed=closed)
    ending = _ending(stage, outcome, exit_code, why, oom_killed)
    if outcome is Outcome.TIMED_OUT and stage is Stage.ALGORITHM:
        ended = replace(ended, stop=Stop.TIMED_OUT)
    # What went wrong first is what the consumer must hear of.
    ended = replace(ended, ending=w.ending or ending)
    if stage is Stage.PUBLISH:
        return replace(steps.finish(w, ended, event, now, why), closed=closed)
    return replace(steps.start(ended, Stage.PUBLISH, event, now, reason=why), closed=closed)


def _succeeded(w: Workflow, stage: Stage, event: str, now: datetime, manifest: Manifest | None) -> Decision:
    match stage:
        case Stage.CONFIGURE:
            return steps.start(w, Stage.ALGORITHM, event, now)
        case Stage.ALGORITHM:
            return steps.start(w, Stage.FILTER if w.limits.filtered else Stage.PUBLISH, event, now)
        case Stage.FILTER:
            return steps.start(w, Stage.PUBLISH, event, now)
        case Stage.PUBLISH:
            return replace(steps.finish(w, w, event, now), manifest=manifest)


def _may_retry(w: Workflow, stage: Stage, outcome: Outcome, exit_code: int | None, reason: str) -> bool:
    """Only our own idempotent programs run again, and only when the cause may pass.

    A Job that never came to be was refused for good, or was tried for long enough.
    """
    if stage not in (Stage.CONFIGURE, Stage.PUBLISH) or w.attempt >= w.limits.attempts:
        return False
    if outcome is Outcome.LOST:
        return True
    refused = w.job_uid is None and exit_code is None
    final = reason in FINAL_REASONS or (stage is Stage.CONFIGURE and exit_code in FINAL_CONFIGURE_CODES)
    return outcome is Outcome.FAILED and not refused and not final


def _ending(stage: Stage, outcome: Outcome, exit_code: int | None, reason: str, oom_killed: bool) -> Ending:
    if outcome is Outcome.STOPPED:
        return Ending(Code.FINISHED, reason)
    match stage:
        case Stage.CONFIGURE:
            code = FINAL_CONFIGURE_CODES.get(exit_code or 0, Code.DATA_FAILED)
        case Stage.ALGORITHM:
            code = Code.FINISHED if outcome is Outcome.TIMED_OUT else Code.ALGORITHM_FAILED
        case Stage.FILTER:
            code = Code.FILTER_REFUSED
        case Stage.PUBLISH:
            code = Code.UPLOAD_FAILED
    return Ending(code, reason, exit_code, oom_killed)


def _stopped_ending(w: Workflow) -> Ending:
    return w.ending or Ending(Code.FINISHED, "StopRequested")
