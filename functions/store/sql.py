"""The record in SQLite or Postgres: what is read, and what the sweep claims. For changes see `transaction`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Any

import msgspec

from functions.backoff import Backoff
from functions.store import history_rows, holds, intent_rows, json_columns, listing, nonces, rows, tes_rows
from functions.store.counts import COUNTS, count_of
from functions.store.driver import Row
from functions.store.job_query import NEWEST_FIRST, SIZES, pages, select
from functions.store.log_rows import SqlLog
from functions.store.pool import any_of, open_pool
from functions.store.transaction import CLOSE_INTENT, WHOLE, SqlTransaction
from functions.store.values import (
    Attempt,
    Count,
    Evidence,
    Freeze,
    HeldResults,
    Listing,
    Outgoing,
    Query,
    StoredDecision,
    StoredTask,
    Summary,
    TaskEntry,
    TaskQuery,
)
from functions.workflow.decision import HistoryEntry
from functions.workflow.model import Phase, Record, ResultFile, Stage, Workflow, WorkflowId

STATE = f"SELECT {rows.STATE} FROM jobs WHERE workflowid = %(workflow)s"
BY_KEY = f"SELECT {rows.RECORD} FROM jobs WHERE provider = %(provider)s AND idempotency_key = %(key)s"
HISTORY = "SELECT * FROM history WHERE workflow = %(workflow)s ORDER BY step"
ATTEMPTS = "SELECT * FROM stage_attempts WHERE workflow = %(workflow)s"
QUEUE = """
    SELECT workflowid FROM jobs WHERE namespace = %(environment)s AND phase = 'queued'
    ORDER BY datecreated, workflowid LIMIT %(limit)s
"""
RUNNING = """
    SELECT namespace, count(*) AS running FROM jobs
    WHERE phase NOT IN ('queued', 'held', 'release', 'finished') GROUP BY namespace
"""
# A loose index scan: one step per environment, however many workflows wait in it.
QUEUES = """
    WITH RECURSIVE queue(environment) AS (
        SELECT min(namespace) FROM jobs WHERE phase = 'queued'
        UNION ALL
        SELECT (SELECT min(namespace) FROM jobs WHERE phase = 'queued' AND namespace > environment)
        FROM queue WHERE environment IS NOT NULL
    )
    SELECT environment FROM queue WHERE environment IS NOT NULL
"""
# Claims move what is due to `until`, and skip what others hold. In a CTE, because a subquery may run more than once.
CLAIM_WORKFLOWS = f"""
    WITH due AS (
        SELECT workflowid FROM jobs WHERE wake_at <= %(now)s
        ORDER BY wake_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET wake_at = %(until)s WHERE workflowid IN (SELECT workflowid FROM due) RETURNING {rows.STATE}
"""
CLAIM_INTENTS = """
    WITH due AS (
        SELECT id FROM intents WHERE kind <> 'emit' AND wake_at <= %(now)s
        ORDER BY wake_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
    UPDATE intents SET wake_at = %(until)s WHERE id IN (SELECT id FROM due) RETURNING workflow
"""
CLAIM_EVENTS = """
    WITH due AS (
        SELECT id FROM intents WHERE kind = 'emit' AND wake_at <= %(now)s
        ORDER BY wake_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
    UPDATE intents SET wake_at = %(until)s, tries = tries + 1 WHERE id IN (SELECT id FROM due)
    RETURNING id, workflow, event, tries, due_at, scope
"""
POSTPONE_EVENT = "UPDATE intents SET wake_at = %(until)s WHERE id = %(id)s"
DEAD_LETTERS = "SELECT event_id, at, reason, event FROM dead_letters ORDER BY id DESC LIMIT %(limit)s"
ADD_DEAD_LETTER = """
    INSERT INTO dead_letters (event_id, at, reason, event) SELECT %(event_id)s, %(at)s, %(reason)s, %(event)s
    WHERE NOT EXISTS (
        SELECT 1 FROM dead_letters WHERE event_id = %(event_id)s AND reason = %(reason)s AND event = %(event)s
    )
"""
PRUNE_DEAD_LETTERS = """
    DELETE FROM dead_letters WHERE at < %(before)s
        OR id <= (SELECT id FROM dead_letters ORDER BY id DESC LIMIT 1 OFFSET %(keep)s)
"""
DELIVERIES = Backoff(first=2, factor=2, longest=3600)
# The other tables follow the row of the job.
FORGET = """
    DELETE FROM jobs WHERE workflowid = %(workflow)s AND phase = 'finished' AND (removed <> 0 OR expired)
    AND (logged_step = step OR NOT EXISTS (SELECT 1 FROM log_checkpoints))
    AND NOT EXISTS (SELECT 1 FROM intents WHERE intents.workflow = jobs.workflowid)
    RETURNING workflowid
"""
FORGET_RUNS = "DELETE FROM policy_runs WHERE workflow = %(workflow)s"


class SqlStore:
    """See the port. Connects at the first use, with at most `pool_size` connections."""

    def __init__(self, url: str, pool_size: int = 8) -> None:
        self.pool = open_pool(url, pool_size)

    @contextmanager
    def begin(self) -> Iterator[SqlTransaction]:
        with self.pool.transaction() as session:
            yield SqlTransaction(session)

    @property
    def log(self) -> SqlLog:
        return SqlLog(self.pool.read)

    def close(self) -> None:
        """Close the pool's connections."""
        self.pool.close()

    def find(self, query: Query) -> Sequence[Record]:
        return [rows.record_of(row) for row in self.pool.read(*select(rows.RECORD, query))]

    def find_in_pages(self, query: Query, max_bytes: int) -> Iterator[Sequence[Record]]:
        if query.workflow is not None:  # at most one record
            yield self.find(query)
            return
        for page in pages(self.pool.read(*select(SIZES, query)), max_bytes):
            names, ids = any_of(page)
            order = NEWEST_FIRST if len(page) > 1 else ""  # SQLite copies the whole rows to sort them
            statement = f"SELECT {rows.RECORD} FROM jobs WHERE workflowid IN ({names}) {order}"
            yield [rows.record_of(row) for row in self.pool.read(statement, ids)]

    def ids(self, query: Query) -> Sequence[WorkflowId]:
        return [WorkflowId(row["workflowid"]) for row in self.pool.read(*select("workflowid", query))]

    def get(self, workflow: WorkflowId) -> Record | None:
        return next((rows.record_of(row) for row in self._read(WHOLE, workflow=workflow)), None)

    def get_published(self, workflow: WorkflowId) -> tuple[Record, Sequence[ResultFile]] | None:
        for row in self._read(WHOLE, workflow=workflow):
            record = rows.record_of({**row, "outputsurl": None, "admin_files": None})
            return record, json_columns.LazyFiles(row["outputsurl"])
        return None

    def state(self, workflow: WorkflowId) -> Workflow | None:
        return next((rows.workflow_of(row) for row in self._read(STATE, workflow=workflow)), None)

    def by_idempotency_key(self, provider: str, key: str) -> Record | None:
        return next((rows.record_of(row) for row in self._read(BY_KEY, provider=provider, key=key)), None)

    def history(self, workflow: WorkflowId) -> Sequence[tuple[HistoryEntry, str]]:
        return [history_rows.history_of(row) for row in self._read(HISTORY, workflow=workflow)]

    def forget(self, workflow: WorkflowId) -> bool:
        with self.pool.transaction() as session:
            gone = bool(session.execute(FORGET, {"workflow": workflow}))
            if gone:
                session.write(FORGET_RUNS, {"workflow": workflow})
        return gone

    def evidence(self, workflow: WorkflowId) -> Evidence:
        return next((rows.evidence_of(row) for row in self._read(rows.EVIDENCE, workflow=workflow)), Evidence())

    def attempts(self, workflow: WorkflowId) -> Sequence[Attempt]:
        found = [history_rows.attempt_of(row) for row in self._read(ATTEMPTS, workflow=workflow)]
        order = list(Stage)
        return sorted(found, key=lambda attempt: (order.index(attempt.stage), attempt.executor, attempt.attempt))

    def task(self, workflow: WorkflowId) -> TaskEntry | None:
        return tes_rows.entry(self.pool.read, workflow)

    def find_tasks(self, query: TaskQuery) -> Sequence[TaskEntry]:
        return tes_rows.find(self.pool.read, query)

    def get_tasks(self, workflows: Sequence[WorkflowId]) -> Sequence[StoredTask]:
        return tes_rows.get(self.pool.read, workflows)

    def queue(self, environment: str, limit: int) -> Sequence[WorkflowId]:
        return [WorkflowId(row["workflowid"]) for row in self._read(QUEUE, environment=environment, limit=limit)]

    def running(self) -> Mapping[str, int]:
        return {row["namespace"]: row["running"] for row in self._read(RUNNING)}

    def summaries(self, wanted: Listing) -> Sequence[Summary]:
        return [listing.summary_of(row) for row in self.pool.read(*listing.select(wanted))]

    def unfinished_by_phase(self) -> Mapping[str, Mapping[Phase, int]]:
        return listing.unfinished_of(self._read(listing.UNFINISHED))

    def holds(self, limit: int) -> Sequence[Record]:
        return [rows.record_of(row) for row in self._read(holds.HOLDS, limit=limit)]

    def held(self, workflow: WorkflowId) -> HeldResults | None:
        return holds.held(self.pool.read, workflow)

    def decisions(self, workflow: WorkflowId) -> Sequence[StoredDecision]:
        return holds.decisions(self.pool.read, workflow)

    def freezes(self) -> Sequence[Freeze]:
        return holds.freezes(self.pool.read)

    def undelivered(self, limit: int) -> Sequence[Outgoing]:
        return [intent_rows.outgoing_of(row) for row in self._read(holds.UNDELIVERED, limit=limit)]

    def counts(self) -> Sequence[Count]:
        return [count_of(row) for row in self._read(COUNTS)]

    def nonce_used(self, address: str, nonce: int) -> bool:
        return bool(self._read(nonces.NONCE_USED, provider=address, nonce=nonce))

    def claim_workflows(self, now: datetime, until: datetime, limit: int) -> Sequence[Workflow]:
        return rows.readable_workflows(self._write(CLAIM_WORKFLOWS, now=now, until=until, limit=limit))

    def claim_intents(self, now: datetime, until: datetime, limit: int) -> Sequence[WorkflowId]:
        due: dict[WorkflowId, None] = {}  # ordered; a workflow may have several intents
        while (wanted := limit - len(due)) > 0:
            claimed = self._write(CLAIM_INTENTS, now=now, until=until, limit=wanted)
            due.update((WorkflowId(row["workflow"]), None) for row in claimed)
            if len(claimed) < wanted:
                break
        return list(due)

    def claim_events(self, now: datetime, until: datetime, limit: int) -> Sequence[Outgoing]:
        with self.pool.transaction() as session:
            claimed = session.execute(CLAIM_EVENTS, {"now": now, "until": until, "limit": limit})
            for row in claimed:
                if row["tries"] > 1:
                    session.write(POSTPONE_EVENT, {"id": row["id"], "until": next_delivery(until, row["tries"])})
        return [intent_rows.outgoing_of(row) for row in claimed]

    def close_event(self, event: Outgoing) -> None:
        self._write(CLOSE_INTENT, id=event.id)

    def queues(self) -> Sequence[str]:
        return [row["environment"] for row in self._read(QUEUES)]

    def unfinished(self, workflows: Sequence[WorkflowId]) -> set[WorkflowId]:
        if not workflows:
            return set()
        names, ids = any_of(workflows)
        known = f"SELECT workflowid FROM jobs WHERE workflowid IN ({names}) AND phase <> 'finished'"
        return {WorkflowId(row["workflowid"]) for row in self.pool.read(known, ids)}

    def prune_nonces(self, before: int) -> None:
        """Delete only what an earlier call has put below the watermark.

        A request that runs now may not see the new watermark yet, so its nonce must still be found by itself.
        """
        self._write(nonces.PRUNE_NONCES, before=before)
        self._write(nonces.RAISE_WATERMARKS, before=before)

    def add_dead_letter(self, event_id: str, reason: str, event: Mapping[str, Any], now: datetime) -> None:
        self._write(
            ADD_DEAD_LETTER, event_id=event_id, at=now, reason=reason, event=msgspec.json.encode(event).decode()
        )

    def prune_dead_letters(self, before: datetime, keep: int) -> None:
        self._write(PRUNE_DEAD_LETTERS, before=before, keep=keep)

    def dead_letters(self, limit: int) -> Sequence[Mapping[str, Any]]:
        return [
            {**row, "at": rows.time_of(row["at"]), "event": msgspec.json.decode(row["event"])}
            for row in self._read(DEAD_LETTERS, limit=limit)
        ]

    def _read(self, statement: str, **parameters: Any) -> list[Row]:
        return self.pool.read(statement, parameters)

    def _write(self, statement: str, **parameters: Any) -> list[Row]:
        with self.pool.transaction() as session:
            return session.execute(statement, parameters)


def next_delivery(until: datetime, tries: int) -> datetime:
    """When the next try to deliver an event is due. The claim of this one, the `tries`th, ends at `until`.

    After the second try the pause doubles with each further one.
    """
    if tries <= 1:
        return until
    return until + timedelta(seconds=DELIVERIES.delay(tries))
