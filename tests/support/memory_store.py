"""The record in memory. One transaction at a time, as on SQLite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import count
from threading import RLock
from typing import Any

import msgspec
from msgspec.structs import replace
from support.memory_counts import counted
from support.memory_listing import is_wanted, summary_of
from support.memory_log import MemoryLog
from support.memory_transaction import STAGES, MemoryTransaction, Tables

from functions.ethereum import comparable
from functions.store.values import (
    Attempt,
    Count,
    Evidence,
    Freeze,
    HeldResults,
    Intent,
    Listing,
    Outgoing,
    Query,
    StoredDecision,
    StoredTask,
    Summary,
    TaskEntry,
    TaskQuery,
)
from functions.workflow.decision import Emit, HistoryEntry
from functions.workflow.model import Manifest, Phase, Record, ResultFile, Workflow, WorkflowId
from functions.workflow.tes_state import state_of


class MemoryStore:
    """See the port."""

    def __init__(self) -> None:
        self._tables = Tables()
        self._ids = count(1)
        self._lock = RLock()
        self._open = False

    @contextmanager
    def begin(self) -> Iterator[MemoryTransaction]:
        with self._lock:
            assert not self._open, "a transaction inside another would wait for itself on a database"
            transaction = MemoryTransaction(self._tables, self._ids)
            self._open = True
            try:
                yield transaction
            except BaseException:
                transaction.roll_back()
                raise
            finally:
                self._open = False

    @property
    def log(self) -> MemoryLog:
        return MemoryLog(self._tables)

    def find(self, query: Query) -> Sequence[Record]:
        with self._lock:
            found = [record for record in self._tables.records.values() if _matches(record, query)]
        found.sort(key=lambda record: (record.workflow.created_at, record.workflow.id), reverse=True)
        return found[query.offset : query.offset + query.limit]

    def find_in_pages(self, query: Query, max_bytes: int) -> Iterator[Sequence[Record]]:
        for record in self.find(query):
            yield [record]

    def ids(self, query: Query) -> Sequence[WorkflowId]:
        return [record.workflow.id for record in self.find(query)]

    def get(self, workflow: WorkflowId) -> Record | None:
        with self._lock:
            return self._tables.records.get(workflow)

    def get_published(self, workflow: WorkflowId) -> tuple[Record, Sequence[ResultFile]] | None:
        record = self.get(workflow)
        return (replace(record, manifest=Manifest()), record.manifest.files) if record else None

    def state(self, workflow: WorkflowId) -> Workflow | None:
        record = self.get(workflow)
        return record.workflow if record else None

    def by_idempotency_key(self, provider: str, key: str) -> Record | None:
        with self._lock:
            records = list(self._tables.records.values())
        wanted = (provider, key)
        return next((r for r in records if (r.submission.provider, r.submission.idempotency_key) == wanted), None)

    def history(self, workflow: WorkflowId) -> Sequence[tuple[HistoryEntry, str]]:
        with self._lock:
            found = [entry for (owner, _), entry in self._tables.history.items() if owner == workflow]
        return sorted(found, key=lambda entry: entry[0].step)

    def forget(self, workflow: WorkflowId) -> bool:
        with self._lock:
            return self._tables.forget(workflow)

    def evidence(self, workflow: WorkflowId) -> Evidence:
        with self._lock:
            return self._tables.evidence.get(workflow, Evidence())

    def attempts(self, workflow: WorkflowId) -> Sequence[Attempt]:
        with self._lock:
            found = [attempt for (owner, *_), attempt in self._tables.attempts.items() if owner == workflow]
        return sorted(found, key=lambda attempt: (STAGES.index(attempt.stage), attempt.attempt))

    def task(self, workflow: WorkflowId) -> TaskEntry | None:
        record = self.get(workflow)
        return _entry(record) if record is not None and record.workflow.limits.ignore_errors else None

    def find_tasks(self, query: TaskQuery) -> Sequence[TaskEntry]:
        with self._lock:
            records = list(self._tables.records.values())
        found = [_entry(record) for record in records if _is_wanted(record, query)]
        found.sort(key=lambda entry: (entry.created_at, entry.id), reverse=True)
        return found[: query.limit]

    def get_tasks(self, workflows: Sequence[WorkflowId]) -> Sequence[StoredTask]:
        found = [record for id_ in workflows if (record := self.get(id_)) and record.workflow.limits.ignore_errors]
        return [StoredTask(state_of(r.workflow), r, self.attempts(r.workflow.id)) for r in found]

    def queue(self, environment: str, limit: int) -> Sequence[WorkflowId]:
        with self._lock:
            queued = [r.workflow for r in self._tables.records.values() if r.workflow.phase is Phase.QUEUED]
        mine = [w for w in queued if w.environment == environment]
        return [w.id for w in sorted(mine, key=lambda w: (w.created_at, w.id))[:limit]]

    def running(self) -> Mapping[str, int]:
        with self._lock:
            workflows = [record.workflow for record in self._tables.records.values()]
        environments = [w.environment for w in workflows if w.takes_slot]
        return {environment: environments.count(environment) for environment in set(environments)}

    def summaries(self, wanted: Listing) -> Sequence[Summary]:
        found = [summary_of(record) for record in self.find(Query(limit=len(self._tables.records)))]
        return [each for each in found if is_wanted(each, wanted)][: wanted.limit]

    def unfinished_by_phase(self) -> Mapping[str, Mapping[Phase, int]]:
        with self._lock:
            workflows = [r.workflow for r in self._tables.records.values() if not r.workflow.finished]
        counted = Counter((w.environment, w.phase) for w in workflows)
        return {name: {p: n for (e, p), n in counted.items() if e == name} for name, _ in counted}

    def counts(self) -> Sequence[Count]:
        with self._lock:
            return list(counted(self._tables))

    def holds(self, limit: int) -> Sequence[Record]:
        with self._lock:
            records = [r for r in self._tables.records.values() if r.workflow.phase is Phase.HELD]
        return sorted(records, key=lambda record: str(record.workflow.held_until))[:limit]

    def held(self, workflow: WorkflowId) -> HeldResults | None:
        with self._lock:
            return self._tables.holding.holds.get(workflow)

    def decisions(self, workflow: WorkflowId) -> Sequence[StoredDecision]:
        with self._lock:
            return self._tables.holding.decisions_of(workflow)

    def freezes(self) -> Sequence[Freeze]:
        with self._lock:
            return self._tables.holding.frozen()

    def undelivered(self, limit: int) -> Sequence[Outgoing]:
        with self._lock:
            found = list(filter(None, (self._outgoing(row.intent) for _, row in sorted(self._tables.outbox.items()))))
        return [each for each in found if each.tries and each.kind not in ("started", "finished")][:limit]

    def nonce_used(self, address: str, nonce: int) -> bool:
        with self.begin() as transaction:
            return transaction.nonce_used(address, nonce)

    def claim_workflows(self, now: datetime, until: datetime, limit: int) -> Sequence[Workflow]:
        with self.begin() as transaction:
            return transaction.wake(now, until, limit)

    def claim_intents(self, now: datetime, until: datetime, limit: int) -> Sequence[WorkflowId]:
        due: dict[WorkflowId, None] = {}
        with self.begin() as transaction:
            while (wanted := limit - len(due)) > 0:
                claimed = transaction.claim(now, until, wanted, outgoing=False)
                due.update((intent.workflow, None) for intent in claimed)
                if len(claimed) < wanted:
                    break
        return list(due)

    def claim_events(self, now: datetime, until: datetime, limit: int) -> Sequence[Outgoing]:
        with self.begin() as transaction:
            claimed = transaction.claim(now, until, limit, outgoing=True)
        return list(filter(None, map(self._outgoing, claimed)))

    def _outgoing(self, intent: Intent) -> Outgoing | None:
        if not isinstance(intent.effect, Emit):
            return None
        scope = self._tables.scopes.get(intent.id, "")
        return Outgoing(intent.id, intent.workflow, intent.effect.kind, intent.tries, intent.due_at, scope)

    def close_event(self, event: Outgoing) -> None:
        with self._lock:
            self._tables.outbox.pop(event.id, None)

    def queues(self) -> Sequence[str]:
        with self._lock:
            workflows = [record.workflow for record in self._tables.records.values()]
        return sorted({w.environment for w in workflows if w.phase is Phase.QUEUED})

    def unfinished(self, workflows: Sequence[WorkflowId]) -> set[WorkflowId]:
        found = ((id_, self.state(id_)) for id_ in workflows)
        return {id_ for id_, workflow in found if workflow is not None and not workflow.finished}

    def prune_nonces(self, before: int) -> None:
        with self._lock:
            nonces, used = self._tables.nonces, self._tables.used_nonces
            for address, nonce in [key for key in used if key[1] <= before]:
                nonces[address] = max(nonce, nonces.get(address, -1))
                del used[address, nonce]

    def add_dead_letter(self, event_id: str, reason: str, event: Mapping[str, Any], now: datetime) -> None:
        with self._lock:
            letter = {"event_id": event_id, "at": now, "reason": reason, "event": event}
            if not any({**known, "at": now} == letter for known in self._tables.dead_letters):
                self._tables.dead_letters.append(letter)

    def dead_letters(self, limit: int) -> Sequence[Mapping[str, Any]]:
        with self._lock:
            return self._tables.dead_letters[::-1][:limit]

    def prune_dead_letters(self, before: datetime, keep: int) -> None:
        with self._lock:
            last = self._tables.dead_letters[-keep:]
            self._tables.dead_letters = [letter for letter in last if letter["at"] >= before]


def _matches(record: Record, query: Query) -> bool:
    submission = record.submission
    pairs = (
        (query.agreement_id, submission.agreement_id),
        (query.workflow, record.workflow.id),
        (query.owner, submission.owner),
        (query.chain_id, str(submission.document.get("chainId"))),
    )
    if query.unfinished and record.workflow.finished:
        return False
    if query.provider not in (None, submission.provider) and not submission.adopted:
        return False
    return all(wanted is None or comparable(wanted) == comparable(actual) for wanted, actual in pairs)


def _entry(record: Record) -> TaskEntry:
    workflow = record.workflow
    size = len(msgspec.json.encode(record.submission.document))
    return TaskEntry(workflow.id, record.submission.owner, state_of(workflow), workflow.created_at, size)


def _is_wanted(record: Record, query: TaskQuery) -> bool:
    workflow, task = record.workflow, record.submission.document
    tags = task.get("tags", {})
    return (
        bool(workflow.limits.ignore_errors)
        and query.owner in (None, record.submission.owner)
        and query.state in (None, state_of(workflow))
        and str(task.get("name", "")).startswith(query.name_prefix)
        and all(key in tags and value in ("", tags[key]) for key, value in query.tags.items())
        and (query.after is None or (workflow.created_at, workflow.id) < query.after)
    )
