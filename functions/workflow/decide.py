"""The rules of a workflow: from its state and an observation to a decision. Pure and total.

`decide` never raises. If an observation changes nothing, the decision holds the same workflow and a verdict that says
why. The table that it implements is in docs/architecture.md.
"""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from msgspec.structs import replace

from functions.workflow import endings, hold_rules, steps, timing
from functions.workflow.codes import Code
from functions.workflow.decision import AttemptEnd, CleanUp, Decision, Emit, RemoveResults, Verdict
from functions.workflow.model import Ending, Findings, Hold, Manifest, Outcome, Phase, Stage, Stop, Waiting, Workflow
from functions.workflow.observation import (
    Admitted,
    Attested,
    DeleteRequested,
    FileViewed,
    HoldRejected,
    HoldReleased,
    Observation,
    Revoked,
    StageEnded,
    StageLost,
    StageObservation,
    StageStuck,
    StopRequested,
    Tick,
)

_ORDER = list(Stage)
_PUBLISHING = (Stage.PUBLISH, Stage.RELEASE)


def submit(workflow: Workflow, now: datetime) -> Decision:
    """Queue a new workflow, even one that is admitted at once. The decision has the first line of its history."""
    queued = replace(workflow, deadline=timing.queue_deadline(workflow))
    queued = replace(queued, wake_at=timing.next_check(queued, now))
    return steps.applied(queued, queued, "submitted", now)


def decide(workflow: Workflow, observation: Observation, now: datetime) -> Decision:
    """Return the decision that follows from an observation made at `now`."""
    match observation:
        case Admitted():
            return _admitted(workflow, now)
        case StopRequested():
            return _stop(workflow, now)
        case DeleteRequested():
            return _delete(workflow, now)
        case Tick():
            return _tick(workflow, observation, now)
        case StageEnded() | StageStuck() | StageLost():
            irrelevant = _irrelevance(workflow, observation)
            return Decision(workflow, irrelevant) if irrelevant else _of_stage(workflow, observation, now)
        case Attested(statement):
            return steps.proven(steps.applied(workflow, workflow, "attested", now), {"statement": statement})
        case HoldReleased() | HoldRejected() | FileViewed() | Revoked():
            return hold_rules.decide_hold(workflow, observation, now)
        case _:
            assert_never(observation)


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
        return steps.finish(w, replace(stopped, ending=endings.stopped_ending(w)), "stop requested", now)
    if w.phase is Phase.HELD:
        return hold_rules.stop_while_held(w, stopped, "stop requested", now)
    if w.phase in (Phase.PUBLISH, Phase.RELEASE):  # nothing is left to stop: the results are being published
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
    if w.phase in (Phase.QUEUED, Phase.HELD):
        return steps.finish(w, replace(stopped, ending=endings.stopped_ending(w)), "delete requested", now)
    return steps.halt(w, stopped, Outcome.STOPPED, "DeleteRequested", "delete requested", now)


def _tick(w: Workflow, tick: Tick, now: datetime) -> Decision:
    if w.finished:
        return _expire(w, now)
    if tick.suspended and w.stage is not None and w.halt is None:
        return _wait_suspended(w, w.stage, now)
    if tick.runs_since is not None and w.stage is not None and w.halt is None:
        w = steps.running(w, w.stage, tick.runs_since, now)
    due_at = timing.due_at(w)
    if due_at is None or now < due_at:
        return _check_again(w, timing.next_check(w, now))
    if w.phase is Phase.QUEUED:
        expired = Ending(Code.QUEUE_EXPIRED, "QueueTimeout")
        return steps.finish(w, replace(w, ending=expired), "queue time is over", now)
    if w.phase is Phase.HELD:
        return hold_rules.expire(w, now)
    if w.halt is not None:  # its Job was deleted long ago and still exists: go on without it
        return _stage_over(w, _end(w, w.halt.outcome, w.halt.reason), now, gone=False)
    if (reason := _never_ran(w)) is not None:
        return steps.halt(w, w, Outcome.FAILED, reason, f"{w.phase} stuck", now)
    return steps.halt(w, w, Outcome.TIMED_OUT, "DeadlineExceeded", "deadline exceeded", now)


def _never_ran(w: Workflow) -> str | None:
    """Return why the stage's container never started; None if it did.

    A stage whose container never started has failed for this reason. It has not timed out.
    """
    return w.waiting.reason if w.waiting and w.runs_since is None else None


def _wait_suspended(w: Workflow, stage: Stage, now: datetime) -> Decision:
    """The time of a suspended Job stands still; only the queue time limits its wait."""
    if now >= timing.queue_deadline(w):
        return steps.halt(w, w, Outcome.FAILED, "QueueTimeout", "queue time is over", now)
    held = replace(w, deadline=timing.stage_deadline(timing.remaining(w), stage, now), waiting=None, runs_since=None)
    return _check_again(held, timing.check_waiting(w.job_created_at or now, timing.queue_deadline(w), now))


def _expire(w: Workflow, now: datetime) -> Decision:
    # `wake_at` is None if nothing can expire. It does not say when: a sweep moves it to claim the workflow.
    expires = timing.results_expiry(w.limits, w.finished_at) if w.finished_at else None
    if w.wake_at is None or expires is None or now < expires:
        return Decision(w, Verdict.LATE)
    gone = replace(w, expired=True, wake_at=None)
    return steps.applied(w, gone, "results expired", now, effects=(RemoveResults(),))


def _check_again(w: Workflow, at: datetime | None) -> Decision:
    return Decision(replace(w, wake_at=at), Verdict.UNCHANGED)


# --- stages ---------------------------------------------------------------------------------


def _irrelevance(w: Workflow, observation: StageObservation) -> Verdict | None:
    """The verdict on an observation that is not about the current attempt; None if it is."""
    if w.finished:
        return Verdict.LATE
    if w.stage is None:
        return Verdict.FOREIGN
    here = (_ORDER.index(w.stage), w.executor, w.attempt)
    there = (_ORDER.index(observation.stage), observation.executor, observation.attempt)
    if there != here:
        return Verdict.DUPLICATE if there < here else Verdict.FOREIGN
    uid = None if isinstance(observation, StageLost) else observation.job_uid
    return Verdict.FOREIGN if uid and w.job_uid and uid != w.job_uid else None


def _of_stage(w: Workflow, observation: StageObservation, now: datetime) -> Decision:
    match observation:
        case StageStuck():
            return _stuck(w, observation, now)
        case StageLost():
            if w.halt is not None:
                return _stage_over(w, _end(w, w.halt.outcome, w.halt.reason), now)
            if w.job_uid is None:  # its creation is not recorded: the intent is still open
                return _tick(w, Tick(), now)
            return _stage_over(w, _end(w, Outcome.LOST, "Lost"), now)
        case StageEnded():
            return steps.proven(_ended(w, observation, now), observation.facts)


def _ended(w: Workflow, end: StageEnded, now: datetime) -> Decision:
    if end.started_at is not None and w.stage is not None:
        w = steps.running(w, w.stage, end.started_at, now)
    # An acknowledged stop counts, even if the stage succeeded meanwhile. A stage that was halted for another reason and
    # succeeded all the same has succeeded.
    if w.halt is not None and (w.halt.outcome is Outcome.STOPPED or end.outcome is not Outcome.SUCCEEDED):
        return _stage_over(w, _end(w, w.halt.outcome, w.halt.reason), now)
    if end.outcome is Outcome.TIMED_OUT and (reason := _never_ran(w)) is not None:
        return _stage_over(w, _end(w, Outcome.FAILED, reason), now)
    if w.stage in _PUBLISHING and end.outcome is Outcome.SUCCEEDED and end.manifest is None:
        # Without a manifest nothing is published, whatever the exit code says.
        return _stage_over(w, _end(w, Outcome.FAILED, "ManifestMissing", end.exit_code), now)
    return _stage_over(w, endings.with_allowed_image(w, end), now)


def _end(w: Workflow, outcome: Outcome, reason: str, exit_code: int | None = None) -> StageEnded:
    """The end of the current attempt, as we conclude it."""
    assert w.stage is not None
    return StageEnded(w.stage, w.attempt, w.job_uid, outcome, exit_code, reason)


def _stuck(w: Workflow, stuck: StageStuck, now: datetime) -> Decision:
    drained = stuck.reason == "NoPod" and w.runs_since is not None  # its Pod is being replaced
    if w.halt is not None or drained:  # only the deadline counts, not the reason of the wait
        return _tick(w, Tick(), now)
    # Every Pod waits a moment for its volume; a short wait does not mean that it never ran.
    if stuck.reason != "FailedMount" or now >= stuck.since + timing.CHECK_AFTER:
        known = w.waiting if w.waiting and w.waiting.reason == stuck.reason else None
        w = replace(w, waiting=known or Waiting(stuck.reason, stuck.since))
    patience_ends = stuck.since + timing.patience(w.limits, stuck)
    if now < patience_ends:
        return _check_again(w, timing.check_waiting(stuck.since, patience_ends, now))
    return steps.halt(w, w, Outcome.FAILED, stuck.reason, f"{steps.name_of(w, stuck.stage)} stuck", now)


def _stage_over(w: Workflow, end: StageEnded, now: datetime, *, gone: bool = True) -> Decision:
    """Close the current attempt, and go on to the next executor, the next stage, the next attempt, or the end.

    `gone`: its Job is gone. If not, no further attempt starts, because both would write to the same volume.
    """
    reason, at = endings.reason_of(w, end), steps.clamped(w, end.ended_at, now)
    closed = AttemptEnd(end.stage, w.attempt, end.outcome, end.exit_code, reason, at, w.executor, w.runs_since)
    return replace(_after_attempt(replace(w, halt=None), end, closed, now, gone), closed=closed)


def _after_attempt(w: Workflow, end: StageEnded, closed: AttemptEnd, now: datetime, gone: bool) -> Decision:
    stage, reason = end.stage, closed.reason
    event = f"{steps.name_of(w, stage)} {end.outcome}"
    if w.removed:
        return steps.finish(w, replace(w, ending=endings.stopped_ending(w)), event, now, reason)
    if end.outcome is Outcome.SUCCEEDED or endings.is_forgiven(w, end):
        if stage is Stage.ALGORITHM and w.executor + 1 < w.limits.executors:
            return steps.next_executor(w, event, closed.at, now, reason)
        return _succeeded(w, stage, event, now, end.manifest)
    if stage is Stage.CHECK and end.exit_code in hold_rules.FINDINGS_OF:
        return hold_rules.checked(w, hold_rules.FINDINGS_OF[end.exit_code], "check found something", now)
    if gone and endings.may_retry(w, end):
        return steps.start(w, stage, event, now, attempt=w.attempt + 1, reason=reason)
    if stage is Stage.RELEASE and hold_rules.can_wait_on(w, end.reason, now):
        return steps.hold_again(w, event, now, reason)
    timed_out = end.outcome is Outcome.TIMED_OUT and stage is Stage.ALGORITHM
    # The consumer is told the first failure.
    ending = w.ending or endings.ending(end, reason)
    ended = replace(w, ending=ending, stop=Stop.TIMED_OUT if timed_out else w.stop)
    if stage in _PUBLISHING:
        return steps.finish(w, ended, event, now, reason)
    return steps.start(ended, Stage.PUBLISH, event, now, reason=reason)


def _succeeded(w: Workflow, stage: Stage, event: str, now: datetime, manifest: Manifest | None) -> Decision:
    match stage:
        case Stage.CONFIGURE:
            return steps.start(w, Stage.ALGORITHM, event, now)
        case Stage.ALGORITHM:
            return steps.start(w, Stage.FILTER if w.limits.filtered else _after_filter(w), event, now)
        case Stage.FILTER:
            return steps.start(w, _after_filter(w), event, now)
        case Stage.CHECK:
            return hold_rules.checked(w, Findings.NONE, event, now)
        case Stage.PUBLISH if w.ending is None and manifest and (lacking := endings.of_outputs(manifest)):
            published = manifest if w.limits.hold is Hold.NEVER else Manifest(admin_files=manifest.admin_files)
            ended = steps.finish(w, replace(w, ending=lacking), event, now, lacking.reason)
            return replace(ended, manifest=published)
        case Stage.PUBLISH if steps.is_held_back(w):
            return hold_rules.quarantined(w, event, now, manifest or Manifest())
        case Stage.PUBLISH:
            return replace(steps.finish(w, w, event, now), manifest=hold_rules.allowed(w, manifest or Manifest()))
        case Stage.RELEASE:
            return hold_rules.released(w, event, now, manifest)


def _after_filter(w: Workflow) -> Stage:
    return Stage.CHECK if w.limits.checked else Stage.PUBLISH
