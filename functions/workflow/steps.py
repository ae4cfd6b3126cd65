"""The edges of the state machine: enter a stage, halt it, finish. Each is one Decision with one history line."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from math import ceil

from msgspec.structs import replace

from functions.workflow.codes import Code
from functions.workflow.decision import (
    CleanUp,
    CreateJob,
    Decision,
    DeleteJob,
    Effect,
    Emit,
    HistoryEntry,
    RemoveQuarantine,
    RemoveReleased,
    RemoveResults,
    Report,
    Verdict,
)
from functions.workflow.model import Findings, Halt, Hold, Manifest, Outcome, Phase, Stage, Workflow
from functions.workflow.timing import (
    CHECK_AFTER,
    HALT_PATIENCE,
    next_check,
    pause,
    remaining,
    results_expiry,
    stage_deadline,
    stage_seconds,
)

STATUS_OF = {
    Stage.CONFIGURE: Code.CONFIGURING,
    Stage.ALGORITHM: Code.RUNNING,
    Stage.FILTER: Code.FILTERING,
    Stage.CHECK: Code.FILTERING,
    Stage.PUBLISH: Code.PUBLISHING,
    Stage.RELEASE: Code.PUBLISHING,
}
REMINDER = 86_400  # seconds before the end of a hold


def running(w: Workflow, stage: Stage, since: datetime, now: datetime) -> Workflow:
    """The stage's container runs since `since`; its time counts from there.

    `since` comes from the node's clock; clamp it to [Job creation, now] on ours. While the creation is not recorded the
    intent is still open, and a later observation sets the time.
    """
    if w.runs_since is not None or w.job_created_at is None:
        return replace(w, waiting=None)
    begun = min(max(since, w.job_created_at), now)
    return replace(
        w, waiting=None, runs_since=begun, deadline=begun + timedelta(seconds=stage_seconds(remaining(w), stage))
    )


def start(
    w: Workflow,
    stage: Stage,
    event: str,
    now: datetime,
    *,
    attempt: int = 1,
    executor: int = 0,
    reason: str = "",
    extra: tuple[Effect, ...] = (),
) -> Decision:
    """Enter `stage`, or its next executor: create its Job, after a pause if an attempt of it has just failed."""
    again = w.stage is stage and w.executor == executor
    create = CreateJob(stage, attempt, executor, pause(w.limits, attempt) if again else 0)
    begin = now + timedelta(seconds=create.after)
    after = replace(
        _without_job(w),
        phase=Phase(stage),
        attempt=attempt,
        executor=executor,
        status=Code.FILTERING if stage is Stage.PUBLISH and is_held_back(w) else STATUS_OF[stage],
        deadline=stage_deadline(remaining(w), stage, begin),
        wake_at=begin + CHECK_AFTER,
    )
    return applied(w, after, event, now, effects=(create, *extra), reason=reason)


def next_executor(w: Workflow, event: str, ended_at: datetime, now: datetime, reason: str) -> Decision:
    """Run the next executor of a TES task, within what is left of the task's time."""
    ran = ended_at - (w.runs_since or w.job_created_at or ended_at)
    spent = replace(w, ran_seconds=w.ran_seconds + ceil(ran.total_seconds()))
    return start(spent, Stage.ALGORITHM, event, now, executor=w.executor + 1, reason=reason)


def name_of(w: Workflow, stage: Stage) -> str:
    """The name of the stage in the history; for an executor of a TES task its number, from 1."""
    return f"executor {w.executor + 1}" if stage is Stage.ALGORITHM and w.limits.ignore_errors else stage.value


def clamped(w: Workflow, at: datetime | None, now: datetime) -> datetime:
    """A time by a node's clock, clamped to what is possible by ours: after the container's start, and not after now."""
    return now if at is None else min(max(at, w.runs_since or w.job_created_at or now), now)


def halt(before: Workflow, w: Workflow, outcome: Outcome, reason: str, event: str, now: datetime) -> Decision:
    """Delete the current Job; the stage ends when it is gone."""
    assert w.stage is not None
    after = replace(
        w,
        waiting=None,
        halt=Halt(outcome, reason),
        deadline=now + HALT_PATIENCE,
        wake_at=now + CHECK_AFTER,
    )
    return applied(before, after, event, now, effects=(DeleteJob(w.stage, w.attempt, w.executor),), reason=reason)


def may_be_held(w: Workflow) -> bool:
    """Whether somebody may have to decide about the results of this workflow."""
    return w.limits.hold is not Hold.NEVER


def is_held_back(w: Workflow) -> bool:
    """Whether the results of a workflow that went well so far must wait for a decision."""
    found = w.findings is not Findings.NONE
    return w.ending is None and (w.limits.hold is Hold.ALWAYS or (w.limits.hold is Hold.ON_FINDINGS and found))


def hold(w: Workflow, event: str, now: datetime, quarantined: Manifest) -> Decision:
    """The results wait for a decision. The Job, its volume and the slot are no longer needed."""
    seconds = w.limits.hold_seconds
    reminders = sorted(each for each in {seconds // 2, seconds - REMINDER} if each > 0)
    events = (Emit("held"), *(Emit("held", after=each) for each in reminders))
    after = replace(_held(w), held_until=now + timedelta(seconds=seconds))
    after = replace(after, deadline=after.held_until)
    after = replace(after, wake_at=next_check(after, now))
    decision = applied(w, after, event, now, effects=(CleanUp(), *events))
    evidence = replace(quarantined, files=(), warnings=())
    return replace(decision, manifest=evidence, held=quarantined, slot_freed=True)


def hold_again(w: Workflow, event: str, now: datetime, reason: str) -> Decision:
    """A release has failed for now: the results wait as before, for the rest of their time.

    The number of the attempt stays, so that those of the next release follow it.
    """
    after = replace(_held(w), attempt=w.attempt, deadline=w.held_until)
    after = replace(after, wake_at=next_check(after, now))
    return applied(w, after, event, now, effects=(CleanUp(), Emit("release-failed")), reason=reason)


def _held(w: Workflow) -> Workflow:
    return replace(_without_job(w), phase=Phase.HELD, status=Code.FILTERING)


def _without_job(w: Workflow) -> Workflow:
    """The workflow after its last Job and before the next: no attempt, and no state of a Job or a container."""
    return replace(w, attempt=0, executor=0, job_uid=None, job_created_at=None, waiting=None, runs_since=None)


def finish(before: Workflow, w: Workflow, event: str, now: datetime, reason: str = "") -> Decision:
    """Finish the workflow. Frees the environment's slot, if the workflow had one."""
    published = before.phase in (Phase.PUBLISH, Phase.HELD, Phase.RELEASE) and not w.removed  # logs, at the least
    after = replace(
        _without_job(w),
        phase=Phase.FINISHED,
        halt=None,
        status=w.ending.code if w.ending else Code.FINISHED,
        deadline=None,
        wake_at=results_expiry(w.limits, now) if published else None,
        finished_at=now,
    )
    started = before.phase is not Phase.QUEUED
    effects: tuple[Effect, ...] = (CleanUp(),) if before.stage is not None else ()
    if w.removed and started:
        effects += (RemoveResults(),)
    elif w.ending is not None and before.phase in (Phase.HELD, Phase.RELEASE) and before.attempt:
        effects += (RemoveReleased(),)  # a release was begun and has not succeeded
    if may_be_held(w) and started:  # its key was made for the first Job
        effects += (RemoveQuarantine(),)
    decision = applied(before, after, event, now, effects=(*effects, Emit("finished")), reason=reason)
    return replace(decision, slot_freed=before.takes_slot)


def applied(
    before: Workflow,
    after: Workflow,
    event: str,
    now: datetime,
    *,
    effects: tuple[Effect, ...] = (),
    reason: str = "",
) -> Decision:
    """The decision that turns `before` into `after`, with its line of history."""
    after = replace(after, step=before.step + 1)
    line = HistoryEntry(after.step, now, before.phase, after.phase, after.status, event, reason, before.attempt)
    if after.reported:
        effects = (*effects, Report())
    return Decision(after, Verdict.APPLIED, effects, (line,))


def proven(decision: Decision, facts: Mapping[str, str]) -> Decision:
    """The decision whose history lines state these facts; facts without a value are left out."""
    stated = {name: value for name, value in facts.items() if value}
    if not stated:
        return decision
    return replace(decision, lines=tuple(replace(line, facts={**line.facts, **stated}) for line in decision.lines))
