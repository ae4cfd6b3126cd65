"""One transaction, in SQL that SQLite and Postgres both understand.

The SQLite driver leaves `FOR UPDATE` out: there, a transaction holds the only write lock from its beginning.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

from msgspec.structs import replace

from functions.store import history_rows, holds, intent_rows, nonces, rows, tes_rows
from functions.store.driver import Row
from functions.store.log_rows import SqlLog
from functions.store.pool import Session
from functions.store.values import Freeze, HeldResults, HoldKey, Intent, Slots, StoredDecision, Tick
from functions.trust.policy import Budget
from functions.workflow.decision import CreateJob, Decision, RemoveQuarantine
from functions.workflow.model import JobUid, Record, Workflow, WorkflowId
from functions.workflow.tes_state import state_of
from functions.workflow.tick import HOURLY_WITHIN, TickLevel, level_for

# The level of the tick comes along, so that only a change of it costs a statement.
_TICK_LEVEL = "(SELECT level FROM tick) AS tick_level"
LOCK = f"SELECT {rows.STATE}, {_TICK_LEVEL} FROM jobs WHERE workflowid = %(workflow)s FOR UPDATE"
WHOLE = f"SELECT {rows.RECORD} FROM jobs WHERE workflowid = %(workflow)s"
OLDEST_QUEUED = f"""
    SELECT {rows.STATE} FROM jobs WHERE namespace = %(environment)s AND phase = 'queued'
    ORDER BY datecreated, workflowid LIMIT 1 FOR UPDATE SKIP LOCKED
"""
MAKE_SLOTS = "INSERT INTO slots (environment) VALUES (%(environment)s) ON CONFLICT DO NOTHING"
LOCK_SLOTS = "SELECT environment FROM slots WHERE environment = %(environment)s FOR UPDATE"
COUNT_SLOTS = f"""
    SELECT count(*) AS taken, {_TICK_LEVEL},
           EXISTS (SELECT 1 FROM jobs WHERE phase = 'queued' AND namespace = %(environment)s) AS queued
    FROM jobs WHERE phase NOT IN ('queued', 'held', 'release', 'finished') AND namespace = %(environment)s
"""
HOLD_FAST_TICK = f"SELECT level FROM tick WHERE level = {TickLevel.FAST.value} FOR SHARE"
READ_TICK = "SELECT level, applied FROM tick"
LOCK_TICK = f"{READ_TICK} FOR UPDATE"
SAVE_TICK = "UPDATE tick SET level = %(level)s, applied = %(applied)s"
BACKLOG = """
    SELECT (SELECT wake_at FROM jobs WHERE wake_at < %(later)s AND datefinished IS NULL ORDER BY wake_at LIMIT 1)
               AS job,
           (SELECT min(wake_at) FROM intents WHERE kind <> 'emit') AS intent,
           (SELECT min(wake_at) FROM intents WHERE kind = 'emit') AS event,
           EXISTS (SELECT 1 FROM jobs WHERE datefinished IS NULL AND phase <> 'held') AS works
"""
OPEN_INTENTS = """
    SELECT id, workflow, kind, stage, attempt, executor, event, tries, due_at,
           EXISTS (SELECT 1 FROM freezes) AS frozen FROM intents
    WHERE workflow = %(workflow)s AND kind <> 'emit' ORDER BY id
"""
DROP_CREATIONS = "DELETE FROM intents WHERE workflow = %(workflow)s AND kind = 'create_job'"
CLOSE_INTENT = "DELETE FROM intents WHERE id = %(id)s"
POSTPONE = "UPDATE intents SET wake_at = %(until)s, tries = tries + 1 WHERE id = %(id)s"
SET_CURRENT_JOB = """
    UPDATE jobs SET job_uid = %(uid)s, job_created_at = %(at)s
    WHERE workflowid = %(workflow)s AND phase = %(stage)s AND attempt = %(attempt)s
        AND executor = %(executor)s
"""
SET_ATTEMPT_JOB = """
    UPDATE stage_attempts SET job_uid = %(uid)s
    WHERE workflow = %(workflow)s AND stage = %(stage)s AND attempt = %(attempt)s
        AND executor = %(executor)s
"""
# Follows the INSERT of attempts: one that is recorded already has ended.
END_ATTEMPT = """
    ON CONFLICT (workflow, stage, attempt, executor) DO UPDATE SET
        started_at = excluded.started_at,
        ended_at = excluded.ended_at, outcome = excluded.outcome,
        exit_code = excluded.exit_code, reason = excluded.reason
"""


class SqlTransaction:
    """See the port. Statements per call: lock 1, add 2 to 4, save 3 to 6, close 1, record_job 3, slots 2."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self.tick_level = TickLevel.NONE

    @property
    def log(self) -> SqlLog:
        return SqlLog(self._session.execute)

    def hold_fast_tick(self) -> bool:
        return self._one(HOLD_FAST_TICK) is not None

    def read_tick(self) -> Tick:
        return self._tick(READ_TICK)

    def lock_tick(self) -> Tick:
        return self._tick(LOCK_TICK)

    def _tick(self, statement: str) -> Tick:
        (row,) = self._session.execute(statement, {})
        return Tick(TickLevel(row["level"]), TickLevel(row["applied"]))

    def save_tick(self, tick: Tick) -> None:
        self._session.write(SAVE_TICK, {"level": tick.level.value, "applied": tick.applied.value})

    def backlog(self, now: datetime) -> TickLevel:
        (row,) = self._session.execute(BACKLOG, {"later": now + HOURLY_WITHIN})
        due = [rows.time_of(row[each]) for each in ("job", "intent", "event") if row[each] is not None]
        return level_for(min(due, default=None), now, waits=not row["works"])

    def lock(self, workflow: WorkflowId) -> Workflow | None:
        row = self._one(LOCK, workflow=workflow)
        self.tick_level = TickLevel(row["tick_level"]) if row else TickLevel.NONE
        return rows.workflow_of(row) if row else None

    def record(self, workflow: WorkflowId) -> Record | None:
        row = self._one(WHOLE, workflow=workflow)
        return rows.record_of(row) if row else None

    def add(self, record: Record, decisions: Sequence[tuple[Decision, str]]) -> None:
        last, _ = decisions[-1]
        self._insert("jobs", [rows.record_values(replace(record, workflow=last.workflow)) | _last_update(last)])
        if record.workflow.limits.ignore_errors:
            tes_rows.insert(self._session, record, state_of(last.workflow))
        self._record(decisions)

    def save(self, decision: Decision, cause: str) -> None:
        after = decision.workflow
        values = rows.state_values(after) | _last_update(decision)
        if decision.manifest is not None:
            values |= rows.manifest_values(decision.manifest)
        self._session.write(_update_of_job(tuple(values)), {"_workflow": after.id, **values})
        if after.limits.ignore_errors:
            tes_rows.save(self._session, after.id, state_of(after), decision.manifest)
        if decision.held is not None:
            holds.hold(self._session, after, decision.held)
        if RemoveQuarantine() in decision.effects:
            holds.forget_key(self._session, after.id)
        if decision.lines and (after.halt is not None or after.stage is None):
            self._session.write(DROP_CREATIONS, {"workflow": after.id})
        self._record([(decision, cause)])

    def _record(self, decisions: Sequence[tuple[Decision, str]]) -> None:
        """Store what decisions bring beside the state: history, attempts, intents."""
        history, attempts, intents = [], [], []
        for decision, cause in decisions:
            workflow = decision.workflow.id
            history += [history_rows.history_values(workflow, line, cause) for line in decision.lines]
            if decision.lines:
                at = decision.lines[-1].at
                attempts += _attempts(decision, at)
                intents += [intent_rows.intent_values(workflow, effect, at) for effect in decision.effects]
        self._insert("history", history)
        self._insert("stage_attempts", attempts, END_ATTEMPT)
        self._insert("intents", intents)

    def intents(self, workflow: WorkflowId) -> Sequence[Intent]:
        return [intent_rows.intent_of(row) for row in self._session.execute(OPEN_INTENTS, {"workflow": workflow})]

    def close(self, intent: Intent) -> None:
        self._session.write(CLOSE_INTENT, {"id": intent.id})

    def record_job(self, creation: Intent, job_uid: JobUid, at: datetime) -> None:
        effect = creation.effect
        assert isinstance(effect, CreateJob)
        attempt = {
            "workflow": creation.workflow,
            "stage": effect.stage.value,
            "attempt": effect.attempt,
            "executor": effect.executor,
        }
        self._session.write(SET_CURRENT_JOB, {**attempt, "uid": job_uid, "at": at})
        self._session.write(SET_ATTEMPT_JOB, {**attempt, "uid": job_uid})
        self.close(creation)

    def postpone(self, intent: Intent, until: datetime) -> None:
        self._session.write(POSTPONE, {"id": intent.id, "until": until})

    def slots(self, environment: str) -> Slots:
        """Lock in one statement and count in the next. One statement that waits for a lock counts an old snapshot."""
        if self._one(LOCK_SLOTS, environment=environment) is None:
            self._session.write(MAKE_SLOTS, {"environment": environment})
            self._one(LOCK_SLOTS, environment=environment)
        (row,) = self._session.execute(COUNT_SLOTS, {"environment": environment})
        self.tick_level = TickLevel(row["tick_level"])
        return Slots(row["taken"], bool(row["queued"]))

    def oldest_queued(self, environment: str) -> Workflow | None:
        row = self._one(OLDEST_QUEUED, environment=environment)
        return rows.workflow_of(row) if row else None

    def hold_key(self, workflow: WorkflowId, new: HoldKey) -> HoldKey:
        return holds.key(self._session, workflow, new)

    def held(self, workflow: WorkflowId) -> HeldResults | None:
        return holds.held(self._session.execute, workflow)

    def decisions(self, workflow: WorkflowId) -> Sequence[StoredDecision]:
        return holds.decisions(self._session.execute, workflow)

    def add_decision(self, workflow: WorkflowId, decision: StoredDecision) -> None:
        holds.add_decision(self._session, workflow, decision)

    def freezes(self) -> Sequence[Freeze]:
        return holds.freezes(self._session.execute)

    def freeze(self, freeze: Freeze) -> bool:
        return holds.freeze(self._session, freeze)

    def unfreeze(self, scope: str) -> bool:
        return self._one(holds.UNFREEZE, scope=scope) is not None

    def tell(self, kind: str, scope: str, at: datetime) -> None:
        self._insert("intents", [intent_rows.scope_event_values(kind, scope, at)])

    def use_budget(self, budget: Budget, owner: str, workflow: WorkflowId, now: datetime) -> bool:
        return holds.use_budget(self._session, budget, owner, workflow, now)

    def use_nonce(self, address: str, nonce: int) -> bool:
        return self._one(nonces.USE_NONCE, provider=address, nonce=nonce) is not None

    def _one(self, statement: str, **parameters: Any) -> Row | None:
        return next(iter(self._session.execute(statement, parameters)), None)

    def _insert(self, table: str, new: Sequence[Mapping[str, Any]], conflict: str = "") -> None:
        """Insert all rows, which have the same columns, in one statement."""
        if new:
            values = {f"{column}_{n}": value for n, row in enumerate(new) for column, value in row.items()}
            self._session.write(_insertion(table, tuple(new[0]), len(new)) + conflict, values)


# Names of tables and columns are constants of ours. Values are always parameters.


@lru_cache(maxsize=64)
def _insertion(table: str, columns: tuple[str, ...], count: int) -> str:
    rows_ = (", ".join(f"%({column}_{n})s" for column in columns) for n in range(count))
    return f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({'), ('.join(rows_)})"


@lru_cache(maxsize=64)
def _update_of_job(columns: tuple[str, ...]) -> str:
    changes = ", ".join(f"{column} = %({column})s" for column in columns)
    return f"UPDATE jobs SET {changes} WHERE workflowid = %(_workflow)s"


def _last_update(decision: Decision) -> dict[str, Any]:
    """operator-service's column for the time of the last change."""
    return {"laststatusupdate": decision.lines[-1].at} if decision.lines else {}


def _attempts(decision: Decision, at: datetime) -> list[dict[str, Any]]:
    """The rows of the attempts that begin and of the one that ended."""
    workflow, closed = decision.workflow.id, decision.closed
    attempts = [
        history_rows.attempt_values(workflow, effect, at)
        for effect in decision.effects
        if isinstance(effect, CreateJob)
    ]
    if closed is not None:
        attempts.append(history_rows.attempt_values(workflow, closed, at, closed))
    return attempts
