"""Records the creation of Jobs: why one waits, or the UID that it has got."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from msgspec.structs import replace

from functions.workflow.decision import CreateJob, Decision, Verdict
from functions.workflow.model import JobUid, Stage, Waiting, Workflow
from functions.workflow.timing import remaining, stage_deadline

if TYPE_CHECKING:
    from functions.store.transaction_port import Transaction
    from functions.store.values import Intent

# A Job that is created this long after it was due has waited for a quota, or for the end of an outage.
CREATED_LATE = timedelta(minutes=1)


def record_wait(tx: Transaction, current: Workflow, intent: Intent, reason: str, cause: str) -> None:
    """Record why the Job of the current attempt cannot be created yet, since its creation was due."""
    is_current = current.stage is not None and intent.effect == _creation(current, current.stage)
    if reason and is_current and (current.waiting is None or current.waiting.reason != reason):
        waiting = replace(current, waiting=Waiting(reason, intent.due_at))
        tx.save(Decision(waiting, Verdict.UNCHANGED), cause)


def record_job(
    tx: Transaction, current: Workflow, intent: Intent, job_uid: JobUid, now: datetime, cause: str
) -> Workflow:
    """Close the intent with the UID of its Job, and return the workflow with that Job.

    The time that a Job waited for its creation does not count as the stage's.
    """
    tx.record_job(intent, job_uid, now)
    stage = current.stage
    if stage is None or intent.effect != _creation(current, stage):
        return current
    created = replace(current, job_uid=job_uid, job_created_at=now, waiting=None)
    if now - intent.due_at >= CREATED_LATE:
        created = replace(created, deadline=stage_deadline(remaining(current), stage, now))
    elif current.waiting is None:
        return created
    tx.save(Decision(created, Verdict.UNCHANGED), cause)
    return created


def _creation(w: Workflow, stage: Stage) -> CreateJob:
    """The effect that creates the Job of the current attempt."""
    return CreateJob(stage, w.attempt, w.executor)
