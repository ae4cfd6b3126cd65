"""The port to the record. `SqlStore` implements it on SQLite and Postgres; the tests have a third adapter, in memory.

All changes happen inside `begin()`, which commits when it is left and rolls back on an exception.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

from functions.errors import Unavailable
from functions.store.log_port import Log
from functions.store.transaction_port import Transaction
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
from functions.workflow.model import Phase, Record, ResultFile, Workflow, WorkflowId


class StoreUnavailable(Unavailable):
    """The database cannot do it now: it is down, read-only, locked or out of connections. Retry later."""


class RefusedStatement(Exception):
    """A fault of ours: a statement that no retry can mend. The message names the rule it breaks, never a value."""


class AgreementInUse(Exception):
    """An unfinished workflow has this agreementId, or any workflow of this provider has this idempotency key."""


class Store(Protocol):
    """The record. Every method may raise StoreUnavailable."""

    def begin(self) -> AbstractContextManager[Transaction]: ...

    @property
    def log(self) -> Log:
        """The log of all histories, for reading."""
        ...

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

    def get_published(self, workflow: WorkflowId) -> tuple[Record, Sequence[ResultFile]] | None:
        """The record without its manifest, and its published files, each decoded when it is asked for."""
        ...

    def state(self, workflow: WorkflowId) -> Workflow | None:
        """The workflow without its record, not locked. Enough to drop an event that cannot change anything."""
        ...

    def by_idempotency_key(self, provider: str, key: str) -> Record | None: ...

    def history(self, workflow: WorkflowId) -> Sequence[tuple[HistoryEntry, str]]:
        """The history with the cause of each entry, oldest first."""
        ...

    def forget(self, workflow: WorkflowId) -> bool:
        """Delete all that is recorded of a workflow, except the lines of its history: they hold digests and no salt.

        Returns False and deletes nothing unless it has ended, its results are removed, and its history is in the log.
        """
        ...

    def evidence(self, workflow: WorkflowId) -> Evidence:
        """The evidence that proofs need beside the history; empty for an unknown workflow."""
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
        """The numbers of unfinished workflows, open effects and dead letters, for metrics. Costs one statement."""
        ...

    def nonce_used(self, address: str, nonce: int) -> bool:
        """Whether `use_nonce` would refuse the nonce now."""
        ...

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
        """Up to `limit` workflows with intents open for CHECK_AFTER. No other sweep gets them before `until`."""
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
