"""All timing policy: when a stage is checked again, how long it may wait and run, and when it is given up."""

from __future__ import annotations

from datetime import datetime, timedelta

from functions.backoff import Backoff
from functions.workflow.decision import CreateJob, Effect
from functions.workflow.model import Limits, Phase, Stage, Workflow

# The first sweep that comes this long after the last check looks at a live Job again.
CHECK_AFTER = timedelta(seconds=10)
# Added to the Job's own activeDeadlineSeconds: time for a late event.
DEADLINE_SLACK = timedelta(minutes=5)
# Before each further attempt of configure and publish. An attempt mostly fails because a storage, a registry or a node
# is down for a while: five attempts outlast 22 minutes.
ATTEMPT_PAUSES = Backoff(first=10, factor=6, longest=900)
# Reasons for which a Pod does not start, and which often pass: a quota frees up, a node joins, a volume is attached.
SLOW_STARTS = frozenset({"NoPod", "Unschedulable", "FailedMount"})
# How long the deletion of a Job may take before its stage counts as over (a lost node never answers).
HALT_PATIENCE = timedelta(minutes=5)


def pause(effect: Effect) -> timedelta:
    """The time between the decision of an effect and its execution: none, except before a further attempt."""
    if not isinstance(effect, CreateJob) or effect.attempt == 1:
        return timedelta()
    return timedelta(seconds=ATTEMPT_PAUSES.delay(effect.attempt - 1))


def patience(limits: Limits, reason: str) -> timedelta:
    """How long a Pod may wait with that reason."""
    return timedelta(seconds=limits.start_seconds if reason in SLOW_STARTS else limits.stuck_seconds)


def queue_deadline(w: Workflow) -> datetime:
    """When a workflow has waited for a slot, or for a queueing system, for too long."""
    return w.created_at + timedelta(seconds=w.limits.queue_seconds)


def creation_deadline(limits: Limits, due_at: datetime) -> datetime:
    """When the creation of a Job that was due at `due_at` is given up."""
    return due_at + timedelta(seconds=limits.queue_seconds)


def read_deadline(w: Workflow) -> datetime | None:
    """When a Job that cannot be read is given up. An outage must not fail a stage that runs well."""
    return w.deadline and w.deadline + timedelta(seconds=w.limits.queue_seconds)


def stage_seconds(limits: Limits, stage: Stage) -> int:
    """How long the container of a stage may run."""
    return limits.algorithm_seconds if stage is Stage.ALGORITHM else limits.stage_seconds


def job_seconds(limits: Limits, stage: Stage) -> int:
    """How long the Job may exist. Its clock runs while its Pod still waits; the stage's begins with the container."""
    return limits.start_seconds + stage_seconds(limits, stage)


def stage_deadline(limits: Limits, stage: Stage, start: datetime) -> datetime:
    """When a stage that starts at `start` has taken too long, even if its Job's own deadline was never announced."""
    return start + timedelta(seconds=job_seconds(limits, stage)) + DEADLINE_SLACK


def overdue(w: Workflow, now: datetime) -> bool:
    """Whether the deadline has passed. While a Job is not created (quota, outage), its creation's deadline counts."""
    if w.deadline is None:
        return False
    uncreated = w.stage is not None and w.halt is None and w.job_uid is None
    return now >= (creation_deadline(w.limits, w.deadline) if uncreated else w.deadline)


def results_expiry(limits: Limits, finished_at: datetime) -> datetime | None:
    """When the results are removed; None if they are kept for ever."""
    return finished_at + timedelta(seconds=limits.storage_expiry) if limits.storage_expiry else None


def next_check(w: Workflow, now: datetime) -> datetime | None:
    """When the sweep must look at an unfinished workflow again."""
    return w.deadline if w.phase is Phase.QUEUED else now + CHECK_AFTER
