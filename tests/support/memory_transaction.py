"""One transaction on the record in memory, and the tables that it changes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from msgspec.structs import replace
from support.memory_holds import ABSENT, HoldTables, HoldTransaction
from support.memory_log import LogTables, MemoryLog

from functions.ethereum import comparable
from functions.store.driver import AGREEMENT_INDEX, IDEMPOTENCY_INDEX, agreement_in_use
from functions.store.intent_rows import effect_times
from functions.store.sql import next_delivery
from functions.store.values import Attempt, Evidence, Intent, Slots, Tick
from functions.trust.chain import MAX_CAUSE
from functions.workflow.decision import AttemptEnd, CreateJob, Decision, Effect, Emit, HistoryEntry, RemoveQuarantine
from functions.workflow.model import JobUid, Phase, Record, Stage, Workflow, WorkflowId
from functions.workflow.tick import TickLevel, level_for

STAGES = list(Stage)


@dataclass(frozen=True, slots=True)
class _Open:
    """A row of the outbox."""

    intent: Intent
    wake_at: datetime


@dataclass(slots=True)
class Tables:
    """Values are immutable, so that undoing a change is putting the earlier value back."""

    records: dict[WorkflowId, Record] = field(default_factory=dict)
    attempts: dict[tuple[WorkflowId, Stage, int, int], Attempt] = field(default_factory=dict)
    history: dict[tuple[WorkflowId, int], tuple[HistoryEntry, str]] = field(default_factory=dict)
    outbox: dict[int, _Open] = field(default_factory=dict)
    scopes: dict[int, str] = field(default_factory=dict)  # of the events in the outbox that are about one
    nonces: dict[str, int] = field(default_factory=dict)  # the watermark of each provider
    used_nonces: dict[tuple[str, int], bool] = field(default_factory=dict)
    holding: HoldTables = field(default_factory=HoldTables)
    dead_letters: list[Mapping[str, Any]] = field(default_factory=list)
    log: LogTables = field(default_factory=LogTables)
    evidence: dict[WorkflowId, Evidence] = field(default_factory=dict)
    tick: dict[int, Tick] = field(default_factory=lambda: {1: Tick(TickLevel.NONE, TickLevel.NONE)})

    def forget(self, workflow: WorkflowId) -> bool:
        """Drop every row of a workflow but its history, if it may be forgotten."""
        known = self.records.get(workflow)
        if known is None or not known.workflow.finished or not (known.workflow.removed or known.workflow.expired):
            return False
        if self.log.notes and self.log.logged.get(workflow) != known.workflow.step:
            return False
        if any(row.intent.workflow == workflow for row in self.outbox.values()):
            return False
        of_one: list[dict[Any, Any]] = [self.records, self.evidence, self.log.logged, self.holding.holds]
        for table in (*of_one, self.attempts, self.holding.decisions, self.holding.runs):
            for key in [key for key in table if workflow in (key if isinstance(key, tuple) else (key,))]:
                del table[key]
        return True


class MemoryTransaction(HoldTransaction):
    """See the port."""

    def __init__(self, tables: Tables, ids: Iterator[int]) -> None:
        super().__init__(tables.holding, self._put)
        self._tables = tables
        self._ids = ids
        self._undo: list[tuple[dict[Any, Any], Any, Any]] = []

    @property
    def log(self) -> MemoryLog:
        return MemoryLog(self._tables, self._put)

    @property
    def tick_level(self) -> TickLevel:
        return self._tables.tick[1].level

    def hold_fast_tick(self) -> bool:
        return self.tick_level is TickLevel.FAST

    def read_tick(self) -> Tick:
        return self._tables.tick[1]

    def lock_tick(self) -> Tick:
        return self._tables.tick[1]

    def save_tick(self, tick: Tick) -> None:
        self._put(self._tables.tick, 1, tick)

    def backlog(self, now: datetime) -> TickLevel:
        unfinished = [r.workflow for r in self._tables.records.values() if not r.workflow.finished]
        due = [w.wake_at for w in unfinished if w.wake_at] + [row.wake_at for row in self._tables.outbox.values()]
        return level_for(min(due, default=None), now, waits=all(w.phase is Phase.HELD for w in unfinished))

    def lock(self, workflow: WorkflowId) -> Workflow | None:
        record = self._tables.records.get(workflow)
        return record.workflow if record else None

    def record(self, workflow: WorkflowId) -> Record | None:
        return self._tables.records.get(workflow)

    def add(self, record: Record, decisions: Sequence[tuple[Decision, str]]) -> None:
        new, key = record.submission, comparable(record.submission.agreement_id)
        for other in self._tables.records.values():
            old, both_run = other.submission, not (other.workflow.finished or record.workflow.finished)
            if both_run and comparable(old.agreement_id) == key:
                raise agreement_in_use(AGREEMENT_INDEX)
            if new.idempotency_key and (old.provider, old.idempotency_key) == (new.provider, new.idempotency_key):
                raise agreement_in_use(IDEMPOTENCY_INDEX)
        self._put(self._tables.records, record.workflow.id, record)
        for decision, cause in decisions:
            self.save(decision, cause)

    def save(self, decision: Decision, cause: str) -> None:
        after = decision.workflow
        record = self._tables.records[after.id]
        manifest = record.manifest if decision.manifest is None else decision.manifest
        self._put(self._tables.records, after.id, replace(record, workflow=after, manifest=manifest))
        if (
            decision.manifest
            and (evidence := Evidence(decision.manifest.fetched, decision.manifest.report)) != Evidence()
        ):
            self._put(self._tables.evidence, after.id, evidence)
        if decision.held is not None:
            self.hold(after, decision.held)
        if RemoveQuarantine() in decision.effects:
            self.forget_key(after.id)
        if not decision.lines:
            return
        for line in decision.lines:
            assert (after.id, line.step) not in self._tables.history
            self._put(self._tables.history, (after.id, line.step), (line, cause[:MAX_CAUSE]))
        if decision.closed is not None:
            self._close_attempt(after.id, decision.closed)
        if after.halt is not None or after.stage is None:
            self._drop_creations(after.id)
        for effect in decision.effects:
            self._decided(after.id, effect, decision.lines[-1].at)

    def _close_attempt(self, workflow: WorkflowId, end: AttemptEnd) -> None:
        key = (workflow, end.stage, end.attempt, end.executor)
        attempt = self._tables.attempts.get(key) or Attempt(end.stage, end.attempt, end.at, executor=end.executor)
        self._put(self._tables.attempts, key, replace(attempt, end=end))

    def _drop_creations(self, workflow: WorkflowId) -> None:
        for intent in self.intents(workflow):
            if isinstance(intent.effect, CreateJob):
                self._put(self._tables.outbox, intent.id, ABSENT)

    def _decided(self, workflow: WorkflowId, effect: Effect, at: datetime) -> None:
        if isinstance(effect, CreateJob):
            attempt = Attempt(effect.stage, effect.attempt, at, executor=effect.executor)
            self._put(self._tables.attempts, (workflow, effect.stage, effect.attempt, effect.executor), attempt)
        due_at, wake_at = effect_times(effect, at)
        # Like the database, it keeps the time, not the pause that led to it.
        kept = replace(effect, after=0) if isinstance(effect, CreateJob) else effect
        intent = Intent(next(self._ids), workflow, kept, 0, due_at)
        self._put(self._tables.outbox, intent.id, _Open(intent, wake_at))

    def tell(self, kind: str, scope: str, at: datetime) -> None:
        intent = Intent(next(self._ids), WorkflowId(""), Emit(kind), 0, at)
        self._put(self._tables.outbox, intent.id, _Open(intent, at))
        self._put(self._tables.scopes, intent.id, scope)

    def intents(self, workflow: WorkflowId) -> Sequence[Intent]:
        found = [row.intent for row in self._tables.outbox.values() if row.intent.workflow == workflow]
        frozen = bool(self._tables.holding.freezes)
        return [replace(intent, frozen=frozen) for intent in found if not isinstance(intent.effect, Emit)]

    def close(self, intent: Intent) -> None:
        self._put(self._tables.outbox, intent.id, ABSENT)

    def record_job(self, creation: Intent, job_uid: JobUid, at: datetime) -> None:
        self.close(creation)
        assert isinstance(creation.effect, CreateJob)
        stage, number, executor = creation.effect.stage, creation.effect.attempt, creation.effect.executor
        record = self._tables.records[creation.workflow]
        if (record.workflow.stage, record.workflow.attempt, record.workflow.executor) == (stage, number, executor):
            current = replace(record.workflow, job_uid=job_uid, job_created_at=at)
            self._put(self._tables.records, creation.workflow, replace(record, workflow=current))
        key = (creation.workflow, stage, number, executor)
        self._put(self._tables.attempts, key, replace(self._tables.attempts[key], job_uid=job_uid))

    def postpone(self, intent: Intent, until: datetime) -> None:
        row = self._tables.outbox.get(intent.id)
        if row is not None:
            later = replace(row.intent, tries=row.intent.tries + 1)
            self._put(self._tables.outbox, intent.id, _Open(later, until))

    def slots(self, environment: str) -> Slots:
        workflows = [r.workflow for r in self._tables.records.values() if r.workflow.environment == environment]
        taken = sum(w.takes_slot for w in workflows)
        return Slots(taken, any(w.phase is Phase.QUEUED for w in workflows))

    def oldest_queued(self, environment: str) -> Workflow | None:
        workflows = (record.workflow for record in self._tables.records.values())
        queued = [w for w in workflows if w.phase is Phase.QUEUED and w.environment == environment]
        return min(queued, key=lambda w: (w.created_at, w.id), default=None)

    def use_nonce(self, address: str, nonce: int) -> bool:
        if self.nonce_used(address, nonce):
            return False
        self._put(self._tables.used_nonces, (address, nonce), True)
        return True

    def nonce_used(self, address: str, nonce: int) -> bool:
        return nonce <= self._tables.nonces.get(address, -1) or (address, nonce) in self._tables.used_nonces

    def claim(self, now: datetime, until: datetime, limit: int, *, outgoing: bool) -> list[Intent]:
        """What of the outbox is due, moved to `until`; an event counts a try and rests longer with each."""
        rows = (row for row in self._tables.outbox.values() if isinstance(row.intent.effect, Emit) is outgoing)
        due = sorted((row for row in rows if row.wake_at <= now), key=lambda row: row.wake_at)[:limit]
        claimed = []
        for row in due:
            intent = replace(row.intent, tries=row.intent.tries + 1) if outgoing else row.intent
            due_again = next_delivery(until, intent.tries) if outgoing else until
            self._put(self._tables.outbox, intent.id, _Open(intent, due_again))
            claimed.append(intent)
        return claimed

    def wake(self, now: datetime, until: datetime, limit: int) -> list[Workflow]:
        """Workflows that are due, moved to `until`."""
        records = (r for r in self._tables.records.values() if r.workflow.wake_at and r.workflow.wake_at <= now)
        woken = []
        for record in sorted(records, key=lambda r: r.workflow.wake_at or now)[:limit]:
            workflow = replace(record.workflow, wake_at=until)
            self._put(self._tables.records, workflow.id, replace(record, workflow=workflow))
            woken.append(workflow)
        return woken

    def _put(self, table: dict[Any, Any], key: Any, value: Any) -> None:
        """Set, or with `ABSENT` remove, one entry; `roll_back` undoes it."""
        self._undo.append((table, key, table.get(key, ABSENT)))
        _set(table, key, value)

    def roll_back(self) -> None:
        for table, key, earlier in reversed(self._undo):
            _set(table, key, earlier)


def _set(table: dict[Any, Any], key: Any, value: Any) -> None:
    if value is ABSENT:
        table.pop(key, None)
    else:
        table[key] = value
