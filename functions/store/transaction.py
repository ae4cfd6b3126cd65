"""One transaction on SQLite or Postgres.

Statements are built once, here, so that SQLAlchemy finds their compiled forms by identity. On SQLite `FOR UPDATE` is
left out: its transactions begin with the one lock there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache
from importlib import import_module
from typing import Any

import sqlalchemy as sa
from sqlalchemy import bindparam

from functions.store import rows
from functions.store.outbox import first_due
from functions.store.ports import Intent
from functions.store.tables import QUEUED, history, intents, jobs, nonces, outgoing, running, slots, stage_attempts
from functions.workflow.model import CreateJob, Decision, Effect, JobUid, Record, Workflow, WorkflowId

_THIS = jobs.c.workflowid == bindparam("_workflow")
LOCK = sa.select(*rows.STATE).where(_THIS).with_for_update()
RECORD = sa.select(*rows.RECORD).where(_THIS)
SAVE = sa.update(jobs).where(_THIS)
OLDEST_QUEUED = (
    sa.select(*rows.STATE)
    .where(jobs.c.namespace == bindparam("_environment"), jobs.c.phase == QUEUED)
    .order_by(jobs.c.datecreated, jobs.c.workflowid)
    .limit(1)
    .with_for_update(skip_locked=True)
)
LOCK_SLOTS = sa.select(slots.c.environment).where(slots.c.environment == bindparam("_environment")).with_for_update()
COUNT_SLOTS = sa.select(sa.func.count()).where(running, jobs.c.namespace == bindparam("_environment"))
OPEN_INTENTS = sa.select(intents).where(intents.c.workflow == bindparam("_workflow"), ~outgoing).order_by(intents.c.id)
DROP_CREATIONS = sa.delete(intents).where(intents.c.workflow == bindparam("_workflow"), intents.c.kind == "create_job")
CLOSE_INTENT = sa.delete(intents).where(intents.c.id == bindparam("_id"))
POSTPONE = (
    sa.update(intents)
    .where(intents.c.id == bindparam("_id"))
    .values(due_at=bindparam("_until"), tries=intents.c.tries + 1)
)
SET_CURRENT_JOB = (
    sa.update(jobs)
    .where(_THIS, jobs.c.phase == bindparam("_stage"), jobs.c.attempt == bindparam("_attempt"))
    .values(job_uid=bindparam("_uid"))
)
SET_ATTEMPT_JOB = (
    sa.update(stage_attempts)
    .where(
        stage_attempts.c.workflow == bindparam("_workflow"),
        stage_attempts.c.stage == bindparam("_stage"),
        stage_attempts.c.attempt == bindparam("_attempt"),
    )
    .values(job_uid=bindparam("_uid"))
)


class _Upserts:
    """`INSERT … ON CONFLICT` is spelled the same by both databases, but built by each dialect's own function."""

    def __init__(self, insert: Any) -> None:
        attempt = insert(stage_attempts)
        self.attempts = attempt.on_conflict_do_update(
            index_elements=["workflow", "stage", "attempt"],
            set_={name: attempt.excluded[name] for name in ("ended_at", "outcome", "exit_code", "reason")},
        )
        self.slots = insert(slots).on_conflict_do_nothing()
        nonce = insert(nonces)
        self.nonce = nonce.on_conflict_do_update(
            index_elements=["provider"],
            set_={name: nonce.excluded[name] for name in ("nonce", "nanoseconds")},
            where=nonces.c.nanoseconds < nonce.excluded.nanoseconds,
        )


@cache
def _upserts(dialect: str) -> _Upserts:
    """Of the one dialect that is in use; the other is not imported."""
    return _Upserts(import_module(f"sqlalchemy.dialects.{dialect}").insert)


class SqlTransaction:
    """See the port. Statements per call: lock 1, save 3 to 6, close 1 (of a Job's creation 3), slots_taken 2."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._upserts = _upserts(connection.dialect.name)

    def lock(self, workflow: WorkflowId) -> Workflow | None:
        row = self._one(LOCK, _workflow=workflow)
        return rows.workflow_of(row) if row else None

    def record(self, workflow: WorkflowId) -> Record | None:
        row = self._one(RECORD, _workflow=workflow)
        return rows.record_of(row) if row else None

    def add(self, record: Record) -> None:
        self._connection.execute(sa.insert(jobs), rows.record_values(record))

    def save(self, decision: Decision, cause: str) -> None:
        after = decision.workflow
        values = rows.state_values(after)
        if decision.manifest is not None:
            values |= rows.manifest_values(decision.manifest)
        if decision.lines:
            values["laststatusupdate"] = decision.lines[-1].at
        self._connection.execute(SAVE, {"_workflow": after.id, **values})
        if not decision.lines:
            return
        lines = [rows.line_values(after.id, line, cause) for line in decision.lines]
        self._connection.execute(sa.insert(history), lines)
        at = decision.lines[-1].at
        self._save_attempts(decision, at)
        if after.halt is not None or after.finished:
            self._connection.execute(DROP_CREATIONS, {"_workflow": after.id})
        if decision.effects:
            self._connection.execute(sa.insert(intents), [_intent(decision, effect, at) for effect in decision.effects])

    def _save_attempts(self, decision: Decision, at: datetime) -> None:
        """The attempt that ended and the one that begins, in one statement."""
        workflow, closed = decision.workflow.id, decision.closed
        attempts = [
            rows.attempt_values(workflow, effect.stage, effect.attempt, at, None)
            for effect in decision.effects
            if isinstance(effect, CreateJob)
        ]
        if closed is not None:
            attempts.append(rows.attempt_values(workflow, closed.stage, closed.attempt, at, closed))
        if attempts:
            self._connection.execute(self._upserts.attempts, attempts)

    def intents(self, workflow: WorkflowId) -> Sequence[Intent]:
        found = self._connection.execute(OPEN_INTENTS, {"_workflow": workflow}).mappings()
        return [Intent(row["id"], workflow, rows.effect_of(row), row["tries"], row["created_at"]) for row in found]

    def close(self, intent: Intent, job_uid: JobUid | None = None) -> None:
        if job_uid is not None and isinstance(intent.effect, CreateJob):
            job = {
                "_workflow": intent.workflow,
                "_stage": intent.effect.stage.value,
                "_attempt": intent.effect.attempt,
                "_uid": job_uid,
            }
            self._connection.execute(SET_CURRENT_JOB, job)
            self._connection.execute(SET_ATTEMPT_JOB, job)
        self._connection.execute(CLOSE_INTENT, {"_id": intent.id})

    def postpone(self, intent: Intent, until: datetime) -> None:
        self._connection.execute(POSTPONE, {"_id": intent.id, "_until": until})

    def slots_taken(self, environment: str) -> int:
        """The count is a statement of its own: one that waited for the lock would count what it saw before."""
        this = {"_environment": environment}
        if self._one(LOCK_SLOTS, **this) is None:
            self._connection.execute(self._upserts.slots, {"environment": environment})
            self._one(LOCK_SLOTS, **this)
        return int(self._connection.execute(COUNT_SLOTS, this).scalar_one())

    def oldest_queued(self, environment: str) -> Workflow | None:
        row = self._one(OLDEST_QUEUED, _environment=environment)
        return rows.workflow_of(row) if row else None

    def use_nonce(self, address: str, nonce: int) -> bool:
        row = {"provider": address, "nonce": str(nonce), "nanoseconds": nonce}
        return self._connection.execute(self._upserts.nonce, row).rowcount == 1

    def _one(self, statement: sa.Select[Any], **parameters: Any) -> sa.RowMapping | None:
        return self._connection.execute(statement, parameters).mappings().first()


def _intent(decision: Decision, effect: Effect, at: datetime) -> dict[str, Any]:
    return {
        **rows.effect_values(effect),
        "workflow": decision.workflow.id,
        "due_at": first_due(effect, at),
        "tries": 0,
        "created_at": at,
    }
