"""The edges of the state machine: entering a stage, halting it, the end. Each is one Decision, one history line."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

from functions.workflow.codes import Code
from functions.workflow.model import (
    CleanUp,
    CreateJob,
    Decision,
    DeleteJob,
    Effect,
    Emit,
    Halt,
    HistoryEntry,
    Limits,
    Outcome,
    Phase,
    RemoveResults,
    Report,
    Stage,
    Verdict,
    Workflow,
)

# A live Job is looked at again by the first sweep that comes this long after the last look.
CHECK_AFTER = timedelta(seconds=10)
# Beyond the Job's own activeDeadlineSeconds: time for a late event.
DEADLINE_SLACK = timedelta(minutes=5)
# Before each further attempt of configure and publish; the last counts for all that follow. What made them fail is
# mostly somebody who is away (a storage, a registry, a node) and comes back: five attempts outlast 21 minutes.
PAUSES = (timedelta(seconds=10), timedelta(minutes=1), timedelta(minutes=5), timedelta(minutes=15))
# What keeps a Pod from starting and often heals by itself: a quota frees up, a node is added, a volume is attached.
SLOW_STARTS = frozenset({"NoPod", "Unschedulable", "FailedMount"})
# How long a deleted Job may take to go before its stage counts as over (a lost node never answers).
HALT_PATIENCE = timedelta(minutes=5)
STATUS_OF = {
    Stage.CONFIGURE: Code.CONFIGURING,
    Stage.ALGORITHM: Code.RUNNING,
    Stage.FILTER: Code.FILTERING,
    Stage.PUBLISH: Code.PUBLISHING,
}


def pause(effect: Effect) -> timedelta:
    """How long an effect is put off after its decision: a further attempt is, all else is carried out at once."""
    if not isinstance(effect, CreateJob) or effect.attempt == 1:
        return timedelta()
    return PAUSES[min(effect.attempt - 2, len(PAUSES) - 1)]


def patience(w: Workflow, reason: str) -> timedelta:
    """How long a Pod may wait with that reason."""
    return timedelta(seconds=w.limits.start_seconds if reason in SLOW_STARTS else w.limits.stuck_seconds)


def stage_deadline(w: Workflow, stage: Stage, now: datetime) -> datetime:
    """When a stage that starts now has taken too long, even if its Job's own deadline was never announced."""
    return now + timedelta(seconds=job_seconds(w.limits, stage)) + DEADLINE_SLACK


def job_seconds(limits: Limits, stage: Stage) -> int:
    """How long the Job may exist. Its clock runs while its Pod still waits; the stage's begins with the container."""
    return limits.start_seconds + _seconds(limits, stage)


def running(w: Workflow, stage: Stage, since: datetime, now: datetime) -> Workflow:
    """The stage's container runs `since` then; its time counts from there.

    `since` comes from the node's clock; clamp it to [Job creation, now] on ours. While the creation is not recorded,
    wait: the intent is still open, and a later look sets it.
    """
    if w.runs_since is not None or w.job_created_at is None:
        return replace(w, waiting="")
    begun = min(max(since, w.job_created_at), now)
    return replace(w, waiting="", runs_since=begun, deadline=begun + timedelta(seconds=_seconds(w.limits, stage)))


def _seconds(limits: Limits, stage: Stage) -> int:
    return limits.algorithm_seconds if stage is Stage.ALGORITHM else limits.stage_seconds


def start(
    w: Workflow,
    stage: Stage,
    event: str,
    now: datetime,
    *,
    attempt: int = 1,
    reason: str = "",
    extra: tuple[Effect, ...] = (),
) -> Decision:
    """Enter `stage`: its Job is to be created, a further attempt's after a pause."""
    create = CreateJob(stage, attempt)
    begin = now + pause(create)
    after = replace(
        w,
        phase=Phase(stage),
        attempt=attempt,
        job_uid=None,
        job_created_at=None,
        waiting="",
        runs_since=None,
        status=STATUS_OF[stage],
        deadline=stage_deadline(w, stage, begin),
        wake_at=begin + CHECK_AFTER,
    )
    return applied(w, after, event, now, effects=(create, *extra), reason=reason)


def halt(before: Workflow, w: Workflow, outcome: Outcome, reason: str, event: str, now: datetime) -> Decision:
    """Have the current Job deleted; the stage ends when it is gone."""
    assert w.stage is not None
    after = replace(
        w,
        waiting="",
        runs_since=None,
        halt=Halt(outcome, reason),
        deadline=now + HALT_PATIENCE,
        wake_at=now + CHECK_AFTER,
    )
    return applied(before, after, event, now, effects=(DeleteJob(w.stage, w.attempt),), reason=reason)


def finish(before: Workflow, w: Workflow, event: str, now: datetime, reason: str = "") -> Decision:
    """The end. Frees the environment's slot, if the workflow had one."""
    keep = w.limits.storage_expiry
    expires = now + timedelta(seconds=keep) if keep and before.phase is Phase.PUBLISH and not w.removed else None
    after = replace(
        w,
        phase=Phase.FINISHED,
        attempt=0,
        job_uid=None,
        job_created_at=None,
        waiting="",
        runs_since=None,
        halt=None,
        status=w.ending.code if w.ending else Code.FINISHED,
        deadline=None,
        wake_at=expires,
        finished_at=now,
    )
    started = before.phase is not Phase.QUEUED
    effects: tuple[Effect, ...] = (CleanUp(),) if started else ()
    if w.removed and started:
        effects += (RemoveResults(),)
    decision = applied(before, after, event, now, effects=(*effects, Emit("finished")), reason=reason)
    return replace(decision, slot_freed=started)


def applied(
    before: Workflow,
    after: Workflow,
    event: str,
    now: datetime,
    *,
    effects: tuple[Effect, ...] = (),
    reason: str = "",
) -> Decision:
    """`before` has become `after`."""
    after = replace(after, step=before.step + 1)
    line = HistoryEntry(after.step, now, before.phase, after.phase, after.status, event, reason, before.attempt)
    if after.reported:
        effects = (*effects, Report())
    return Decision(after, Verdict.APPLIED, effects, (line,))
