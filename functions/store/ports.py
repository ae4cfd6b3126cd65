"""The port to the record. `SqlStore` implements it on SQLite and Postgres; the tests have a third adapter, in memory.

All changes happen inside `begin()`, which commits when it is left and rolls back on an exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from functions.errors import Unavailable
from functions.store.values import (
    Attempt,
    Count,
    Evidence,
    Freeze,
    HeldResults,
    HoldKey,
    Intent,
    Listing,
    Outgoing,
    Query,
    Slots,
    StoredDecision,
    StoredTask,
    Summary,
    TaskEntry,
    TaskQuery,
    Tick,
)
from functions.trust.policy import Budget
from functions.workflow.decision import Decision, HistoryEntry
from functions.workflow.model import JobUid, Phase, Record, Workflow, WorkflowId
from functions.workflow.tick import TickLevel


class StoreUnavailable(Unavailable):
    """The database cannot do it now: it is down, read-only, locked or out of connections. Retry later."""


class RefusedStatement(Exception):
    """A fault of ours: a statement that no retry can mend. The message names the rule it breaks, never a value."""


class AgreementInUse(Exception):
    """An unfinished workflow has this agreementId, or any workflow of this provider has this idempotency key."""


class Transaction(Protocol):
    """One transaction. What `lock`, `slots`, `oldest_queued` and `lock_tick` return stays locked until it ends."""

    @property
    def tick_level(self) -> TickLevel:
        """The level of the tick, as the last `lock` or `slots` read it, without a lock."""
        ...

    def hold_fast_tick(self) -> bool:
        """Keep others from lowering the tick before this transaction ends. False, and no lock, if it is not fast."""
        ...

    def read_tick(self) -> Tick:
        """The tick as it is now, not locked."""
        ...

    def lock_tick(self) -> Tick:
        """Lock the tick and return it."""
        ...

    def save_tick(self, tick: Tick) -> None: ...

    def backlog(self, now: datetime) -> TickLevel:
        """The level that the record needs for its unfinished workflows, open intents and events."""
        ...

    def lock(self, workflow: WorkflowId) -> Workflow | None:
        """Lock a workflow against all other transactions and return it. None if it does not exist."""
        ...

    def record(self, workflow: WorkflowId) -> Record | None:
        """The whole record with its document, not locked."""
        ...

    def add(self, record: Record, decisions: Sequence[tuple[Decision, str]]) -> None:
        """Store a new workflow in the state of the last of `decisions`. Each comes with its cause; see `save`.

        Raises AgreementInUse, at the latest when `begin()` is left.
        """
        ...

    def save(self, decision: Decision, cause: str) -> None:
        """Store a decision: the state, history, ended and new attempts, the manifest, intents and events.

        `cause` is for the history: the id of an event, `sweep`, or the caller. Open CreateJob intents of a workflow
        that is being halted or is finished are deleted, because their Jobs must not be created any more.
        """
        ...

    def intents(self, workflow: WorkflowId) -> Sequence[Intent]:
        """The open intents of a workflow, oldest first, without events."""
        ...

    def close(self, intent: Intent) -> None:
        """Delete an intent that was carried out or given up. Does nothing if it is closed already."""
        ...

    def record_job(self, creation: Intent, job_uid: JobUid, at: datetime) -> None:
        """Close the intent of a CreateJob and record the Job that it created at `at`."""
        ...

    def postpone(self, intent: Intent, until: datetime) -> None:
        """Count a failed try. The sweep does not take the intent before `until`."""
        ...

    def slots(self, environment: str) -> Slots:
        """Lock the environment's slots and count them."""
        ...

    def oldest_queued(self, environment: str) -> Workflow | None:
        """Lock and return the oldest queued workflow that no other transaction has locked."""
        ...

    def hold_key(self, workflow: WorkflowId, new: HoldKey) -> HoldKey:
        """The key of the workflow's quarantine: `new`, unless it has one already."""
        ...

    def held(self, workflow: WorkflowId) -> HeldResults | None:
        """What is held of a workflow; None if nothing ever was."""
        ...

    def decisions(self, workflow: WorkflowId) -> Sequence[StoredDecision]:
        """Oldest first."""
        ...

    def add_decision(self, workflow: WorkflowId, decision: StoredDecision) -> None:
        """Store a decision; each person decides once."""
        ...

    def freezes(self) -> Sequence[Freeze]:
        """What is frozen now."""
        ...

    def freeze(self, freeze: Freeze) -> bool:
        """Freeze a scope. False, and nothing changes, if it is frozen already."""
        ...

    def unfreeze(self, scope: str) -> bool:
        """Lift a freeze; False if the scope was not frozen."""
        ...

    def tell(self, kind: str, scope: str, at: datetime) -> None:
        """Store an event about a scope, to be delivered."""
        ...

    def use_budget(self, budget: Budget, owner: str, workflow: WorkflowId, now: datetime) -> bool:
        """Count a workflow of the owner; False, and nothing is counted, if the budget is used up."""
        ...

    def use_nonce(self, address: str, nonce: int) -> bool:
        """Use a nonce (nanoseconds) up, in one atomic statement. False if it was used before.

        Nonces may arrive out of order. One at or below the provider's pruning watermark is refused too; see
        `Store.prune_nonces`.
        """
        ...


class Store(Protocol):
    """The record. Every method may raise StoreUnavailable."""

    def begin(self) -> AbstractContextManager[Transaction]: ...

    def find(self, query: Query) -> Sequence[Record]: ...

    def find_in_pages(self, query: Query, max_bytes: int) -> Iterator[Sequence[Record]]:
        """Yield what `find` returns, in pages of one record or of at most `max_bytes` of documents and file lists.

        Each page is read when it is asked for, so it shows the records as they are then.
        """
        ...

    def ids(self, query: Query) -> Sequence[WorkflowId]:
        """The ids of what `find` returns, without reading the documents."""
        ...

    def get(self, workflow: WorkflowId) -> Record | None: ...

    def state(self, workflow: WorkflowId) -> Workflow | None:
        """The workflow without its record, not locked. Enough to drop an event that cannot change anything."""
        ...

    def by_idempotency_key(self, provider: str, key: str) -> Record | None: ...

    def history(self, workflow: WorkflowId) -> Sequence[tuple[HistoryEntry, str]]:
        """The history with the cause of each entry, oldest first."""
        ...

    def evidence(self, workflow: WorkflowId) -> Evidence:
        """What proofs need beside the history; empty for an unknown workflow."""
        ...

    def attempts(self, workflow: WorkflowId) -> Sequence[Attempt]:
        """The attempts in the order of the stages, then of their numbers."""
        ...

    def task(self, workflow: WorkflowId) -> TaskEntry | None:
        """The state of a GA4GH TES task, from one indexed row. None if there is no task with this id."""
        ...

    def find_tasks(self, query: TaskQuery) -> Sequence[TaskEntry]: ...

    def get_tasks(self, workflows: Sequence[WorkflowId]) -> Sequence[StoredTask]:
        """The whole tasks, in the order of their ids, without those that do not exist."""
        ...

    def queue(self, environment: str, limit: int) -> Sequence[WorkflowId]:
        """The first `limit` queued workflows of the environment, in the order in which they get slots."""
        ...

    def running(self) -> Mapping[str, int]:
        """The number of running workflows by environment, without environments in which none runs."""
        ...

    def summaries(self, wanted: Listing) -> Sequence[Summary]:
        """The workflows that `wanted` asks for, without reading their documents."""
        ...

    def unfinished_by_phase(self) -> Mapping[str, Mapping[Phase, int]]:
        """The number of unfinished workflows by environment and phase, without zeros."""
        ...

    def counts(self) -> Sequence[Count]:
        """What is unfinished, open and kept now, for metrics: one statement, whose cost follows what it counts."""
        ...

    def nonce_used(self, address: str, nonce: int) -> bool:
        """Whether `use_nonce` would refuse the nonce now."""
        ...

    # held results

    def holds(self, limit: int) -> Sequence[Record]:
        """The workflows that wait for a decision, the earliest end of a hold first."""
        ...

    def held(self, workflow: WorkflowId) -> HeldResults | None: ...

    def decisions(self, workflow: WorkflowId) -> Sequence[StoredDecision]: ...

    def freezes(self) -> Sequence[Freeze]: ...

    def undelivered(self, limit: int) -> Sequence[Outgoing]:
        """Events about held results, revocations and freezes whose delivery has failed, the oldest first."""
        ...

    # For the sweep. A claim moves what is due to `until`, so that two sweeps share the work.

    def claim_workflows(self, now: datetime, until: datetime, limit: int) -> Sequence[Workflow]:
        """Up to `limit` workflows whose `wake_at` has come; it becomes `until`."""
        ...

    def claim_intents(self, now: datetime, until: datetime, limit: int) -> Sequence[WorkflowId]:
        """Up to `limit` workflows with open intents that no other sweep gets before `until`.

        A fresh intent is left for CHECK_AFTER to the handler that decided it (functions/workflow/timing.py).
        """
        ...

    def claim_events(self, now: datetime, until: datetime, limit: int) -> Sequence[Outgoing]:
        """Up to `limit` events to deliver. Counts a try of each; the next is due at `until`, or later after many."""
        ...

    def close_event(self, event: Outgoing) -> None:
        """Delete an event that was delivered or given up."""
        ...

    def queues(self) -> Sequence[str]:
        """The environments that have queued workflows."""
        ...

    def unfinished(self, workflows: Sequence[WorkflowId]) -> set[WorkflowId]:
        """Those of `workflows` that exist and are not finished."""
        ...

    def prune_nonces(self, before: int) -> None:
        """Raise each provider's watermark to its highest nonce up to `before` (nanoseconds); delete those below."""
        ...

    # Dead letters: events that nobody could handle, kept for people to read.

    def add_dead_letter(self, event_id: str, reason: str, event: Mapping[str, Any], now: datetime) -> None:
        """Keep a letter, unless the very same is kept already. It replaces no other: anybody can use an event's id."""
        ...

    def dead_letters(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """The last to arrive first: `event_id`, `at`, `reason`, `event`."""
        ...

    def prune_dead_letters(self, before: datetime, keep: int) -> None:
        """Delete the letters that arrived before `before`, and all but the last `keep`."""
        ...
