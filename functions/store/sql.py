"""The record in SQLite or Postgres."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

import msgspec
import sqlalchemy as sa
from sqlalchemy import bindparam

from functions.store import rows
from functions.store.engine import open_engine, reader, translated
from functions.store.outbox import next_due
from functions.store.ports import Attempt, Outgoing, Query
from functions.store.tables import (
    FINISHED,
    QUEUED,
    dead_letters,
    history,
    intents,
    jobs,
    outgoing,
    running,
    stage_attempts,
)
from functions.store.transaction import CLOSE_INTENT, RECORD, SqlTransaction
from functions.workflow.model import Line, Record, Stage, Workflow, WorkflowId

STATE = sa.select(*rows.STATE).where(jobs.c.workflowid == bindparam("_workflow"))
BY_KEY = sa.select(*rows.RECORD).where(
    jobs.c.provider == bindparam("_provider"), jobs.c.idempotency_key == bindparam("_key")
)
HISTORY = sa.select(history).where(history.c.workflow == bindparam("_workflow")).order_by(history.c.step)
ATTEMPTS = sa.select(stage_attempts).where(stage_attempts.c.workflow == bindparam("_workflow"))
RUNNING = sa.select(jobs.c.namespace, sa.func.count()).where(running).group_by(jobs.c.namespace)
UNFINISHED = sa.select(jobs.c.workflowid).where(
    jobs.c.workflowid.in_(bindparam("_workflows", expanding=True)), jobs.c.phase != FINISHED
)
# Each environment is found by one step through the index, however many workflows wait in it.
QUEUES = sa.text(f"""
    WITH RECURSIVE queue(environment) AS (
        SELECT min(namespace) FROM jobs WHERE phase = '{QUEUED}'
        UNION ALL
        SELECT (SELECT min(namespace) FROM jobs WHERE phase = '{QUEUED}' AND namespace > environment)
        FROM queue WHERE environment IS NOT NULL
    )
    SELECT environment FROM queue WHERE environment IS NOT NULL
""")  # noqa: S608 - a constant


def _claim(key: Any, due_at: Any, where: Any, changes: Mapping[str, Any], *returning: Any) -> sa.Update:
    """Move what is due to `_until`, past what others hold. A CTE, because a subquery might be run more than once."""
    due = (
        sa.select(key)
        .where(where, due_at <= bindparam("_now"))
        .order_by(due_at)
        .limit(bindparam("_limit"))
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    moved = sa.update(key.table).where(key.in_(sa.select(due.c[key.name])))
    return moved.values({due_at: bindparam("_until"), **changes}).returning(*returning)


CLAIM_WORKFLOWS = _claim(jobs.c.workflowid, jobs.c.wake_at, jobs.c.wake_at.is_not(None), {}, *rows.STATE)
CLAIM_INTENTS = _claim(intents.c.id, intents.c.due_at, ~outgoing, {}, intents.c.workflow)
CLAIM_EVENTS = _claim(intents.c.id, intents.c.due_at, outgoing, {"tries": intents.c.tries + 1}, *intents.c)
PAUSE_EVENT = sa.update(intents).where(intents.c.id == bindparam("_id")).values(due_at=bindparam("_until"))


class SqlStore:
    """See the port. Connects on first use, with at most `pool_size` connections."""

    def __init__(self, url: str, pool_size: int = 8) -> None:
        self._engine = open_engine(url, pool_size)
        self._reader = reader(self._engine)

    @contextmanager
    def begin(self) -> Iterator[SqlTransaction]:
        with translated(), self._engine.begin() as connection:
            yield SqlTransaction(connection)

    def close(self) -> None:
        """Close the pool's connections."""
        self._engine.dispose()

    def find(self, query: Query) -> Sequence[Record]:
        statement = (
            sa.select(*rows.RECORD)
            .where(*_conditions(query))
            .order_by(jobs.c.datecreated.desc(), jobs.c.workflowid.desc())
            .limit(query.limit)
            .offset(query.offset)
        )
        return [rows.record_of(row) for row in self._read(statement)]

    def get(self, workflow: WorkflowId) -> Record | None:
        return next((rows.record_of(row) for row in self._read(RECORD, _workflow=workflow)), None)

    def state(self, workflow: WorkflowId) -> Workflow | None:
        return next((rows.workflow_of(row) for row in self._read(STATE, _workflow=workflow)), None)

    def by_idempotency_key(self, provider: str, key: str) -> Record | None:
        return next((rows.record_of(row) for row in self._read(BY_KEY, _provider=provider, _key=key)), None)

    def history(self, workflow: WorkflowId) -> Sequence[tuple[Line, str]]:
        return [rows.line_of(row) for row in self._read(HISTORY, _workflow=workflow)]

    def attempts(self, workflow: WorkflowId) -> Sequence[Attempt]:
        found = [rows.attempt_of(row) for row in self._read(ATTEMPTS, _workflow=workflow)]
        order = list(Stage)
        return sorted(found, key=lambda attempt: (order.index(attempt.stage), attempt.attempt))

    def running(self) -> Mapping[str, int]:
        return {row["namespace"]: row["count"] for row in self._read(RUNNING)}

    def claim_workflows(self, now: datetime, until: datetime, limit: int) -> Sequence[Workflow]:
        return [rows.workflow_of(row) for row in self._write(CLAIM_WORKFLOWS, _now=now, _until=until, _limit=limit)]

    def claim_intents(self, now: datetime, until: datetime, limit: int) -> Sequence[WorkflowId]:
        due: dict[WorkflowId, None] = {}  # a workflow may have several
        while (wanted := limit - len(due)) > 0:
            claimed = self._write(CLAIM_INTENTS, _now=now, _until=until, _limit=wanted)
            due.update((WorkflowId(row["workflow"]), None) for row in claimed)
            if len(claimed) < wanted:
                break
        return list(due)

    def claim_events(self, now: datetime, until: datetime, limit: int) -> Sequence[Outgoing]:
        with translated(), self._engine.begin() as connection:
            claimed = connection.execute(
                CLAIM_EVENTS, {"_now": now, "_until": until, "_limit": limit}
            ).mappings().all()  # fmt: skip
            again = [{"_id": row["id"], "_until": next_due(until, row["tries"])} for row in claimed if row["tries"] > 1]
            if again:
                connection.execute(PAUSE_EVENT, again)
        return [
            Outgoing(row["id"], WorkflowId(row["workflow"]), row["event"], row["tries"], row["created_at"])
            for row in claimed
        ]

    def close_event(self, event: Outgoing) -> None:
        with translated(), self._engine.begin() as connection:
            connection.execute(CLOSE_INTENT, {"_id": event.id})

    def queues(self) -> Sequence[str]:
        return [row["environment"] for row in self._read(QUEUES)]

    def unfinished(self, workflows: Sequence[WorkflowId]) -> set[WorkflowId]:
        return {WorkflowId(row["workflowid"]) for row in self._read(UNFINISHED, _workflows=list(workflows))}

    def bury(self, event_id: str, reason: str, event: Mapping[str, Any], now: datetime) -> None:
        with translated(), self._engine.begin() as connection:
            connection.execute(sa.delete(dead_letters).where(dead_letters.c.event_id == event_id))
            values = {"event_id": event_id, "at": now, "reason": reason, "event": msgspec.json.encode(event).decode()}
            connection.execute(sa.insert(dead_letters), values)

    def dead_letters(self, limit: int) -> Sequence[Mapping[str, Any]]:
        found = self._read(sa.select(dead_letters).order_by(dead_letters.c.at.desc()).limit(limit))
        return [{**row, "event": msgspec.json.decode(row["event"])} for row in found]

    def _read(self, statement: sa.Executable, **parameters: Any) -> Sequence[sa.RowMapping]:
        with translated(), self._reader.connect() as connection:
            return connection.execute(statement, parameters).mappings().all()

    def _write(self, statement: sa.Executable, **parameters: Any) -> Sequence[sa.RowMapping]:
        with translated(), self._engine.begin() as connection:
            return connection.execute(statement, parameters).mappings().all()


def _conditions(query: Query) -> list[sa.ColumnElement[bool]]:
    wanted = (
        (jobs.c.agreementid, query.agreement_id),
        (jobs.c.workflowid, query.workflow),
        (jobs.c.owner, query.owner),
        (jobs.c.provider, query.provider),
        (jobs.c.chain_id, query.chain_id),
    )
    conditions = [column == value for column, value in wanted if value is not None]
    return [*conditions, jobs.c.datefinished.is_(None)] if query.unfinished else conditions
