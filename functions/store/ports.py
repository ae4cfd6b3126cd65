"""The port to the record. `SqlStore` implements it on SQLite and Postgres; the tests have a third adapter, in memory.

All changes happen inside `begin()`, which commits when it is left and rolls back on an exception.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from functions.errors import Unavailable
from functions.workflow.decision import AttemptEnd, Decision, Effect, HistoryEntry
from functions.workflow.model import JobUid, Record, Stage, Workflow, WorkflowId


class StoreUnavailable(Unavailable):
    """The database cannot do it now (down, read-only, deadlock, lock time-out, no connection free)."""


class RefusedStatement(Exception):
    """A fault of ours: a statement that no retry can mend. The message names the rule it breaks, never a value."""


class AgreementInUse(Exception):
    """An unfinished workflow has this agreementId already, or any has this provider's idempotency key."""


@dataclass(frozen=True, slots=True)
class Intent:
    """An effect that was decided and is not yet known to be carried out."""

    id: int
    workflow: WorkflowId
    effect: Effect
    tries: int
    due_at: datetime  # not to be carried out earlier; the same after a try that failed


@dataclass(frozen=True, slots=True)
class Outgoing:
    """An event for the outside that was not delivered yet."""

    id: int
    workflow: WorkflowId
    kind: str
    tries: int
    due_at: datetime


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of one stage, as recorded."""

    stage: Stage
    attempt: int
    created_at: datetime
    job_uid: JobUid | None = None
    end: AttemptEnd | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """Which records to find: all given conditions hold. Newest first."""

    agreement_id: str | None = None
    workflow: str | None = None
    owner: str | None = None
    chain_id: str | None = None
    unfinished: bool = False
    limit: int = 1000
    offset: int = 0


@dataclass(frozen=True, slots=True)
class Slots:
    """What an environment's workflows take of its slots."""

    taken: int  # workflows that run
    queued: bool  # others wait for a slot


class Transaction(Protocol):
    """One transaction. What `lock`, `slots` and `oldest_queued` return stays locked until its end."""

    def lock(self, workflow: WorkflowId) -> Workflow | None:
        """The workflow, locked against every other transaction; None if there is none."""
        ...

    def record(self, workflow: WorkflowId) -> Record | None:
        """The whole record, document included; not locked."""
        ...

    def add(self, record: Record, decisions: Sequence[tuple[Decision, str]]) -> None:
        """Store a new workflow in the state that the last of `decisions` made. Each has its cause, as in `save`.

        Raises AgreementInUse, at the latest when `begin()` is left.
        """
        ...

    def save(self, decision: Decision, cause: str) -> None:
        """Store what was decided: state, history lines, closed and new attempts, manifest, intents, events.

        `cause`: what brought it about (an event's id, `sweep`, the caller), for the history. Open CreateJob intents of
        a workflow that is halting or finished are dropped: their Jobs must not come to be.
        """
        ...

    def intents(self, workflow: WorkflowId) -> Sequence[Intent]:
        """The open intents of a workflow, oldest first."""
        ...

    def close(self, intent: Intent) -> None:
        """The effect is carried out, or given up. Closing it again does nothing."""
        ...

    def record_job(self, creation: Intent, job_uid: JobUid, at: datetime) -> None:
        """Close the intent of a CreateJob, and record the Job that it created at `at`."""
        ...

    def postpone(self, intent: Intent, until: datetime) -> None:
        """The effect failed for now; one try more is counted."""
        ...

    def slots(self, environment: str) -> Slots:
        """How many slots of the environment are taken. Holds its lock, so that the answer stays true."""
        ...

    def oldest_queued(self, environment: str) -> Workflow | None:
        """The oldest queued workflow that no other transaction holds, locked."""
        ...

    def use_nonce(self, address: str, nonce: int) -> bool:
        """Consume a nonce (nanoseconds) in one atomic statement: False if it was used before, or may have been.

        In any order: requests of one provider overtake each other. Refused is also what is not above the
        highest of its nonces that are forgotten; `forget_nonces` is what moves that.
        """
        ...


class Store(Protocol):
    """The record. Every method may raise StoreUnavailable."""

    def begin(self) -> AbstractContextManager[Transaction]: ...

    def find(self, query: Query) -> Sequence[Record]: ...

    def ids(self, query: Query) -> Sequence[WorkflowId]:
        """The ids of what `find` would find, without reading the documents."""
        ...

    def get(self, workflow: WorkflowId) -> Record | None: ...

    def state(self, workflow: WorkflowId) -> Workflow | None:
        """The workflow alone, not locked: what an event is held against before anything is locked or asked."""
        ...

    def by_idempotency_key(self, provider: str, key: str) -> Record | None: ...

    def history(self, workflow: WorkflowId) -> Sequence[tuple[HistoryEntry, str]]:
        """The lines with their causes, oldest first."""
        ...

    def attempts(self, workflow: WorkflowId) -> Sequence[Attempt]:
        """Oldest first."""
        ...

    def running(self) -> Mapping[str, int]:
        """How many workflows run in each environment that has any."""
        ...

    def nonce_used(self, address: str, nonce: int) -> bool:
        """Whether `use_nonce` would refuse it now."""
        ...

    # for the sweep: each claims what is due, so that two sweeps share the work, and costs what is due

    def claim_workflows(self, now: datetime, until: datetime, limit: int) -> Sequence[Workflow]:
        """Workflows whose `wake_at` has come; it is moved to `until`."""
        ...

    def claim_intents(self, now: datetime, until: datetime, limit: int) -> Sequence[WorkflowId]:
        """Workflows with intents for the sweep to carry out; no other sweep gets them before `until`.

        A fresh intent is left to the handler that decided it for CHECK_AFTER, that of a further attempt for its pause
        (functions/workflow/steps.py).
        """
        ...

    def claim_events(self, now: datetime, until: datetime, limit: int) -> Sequence[Outgoing]:
        """Events that are due; each counts a try and is due again at `until`, and later with every further try."""
        ...

    def close_event(self, event: Outgoing) -> None: ...

    def queues(self) -> Sequence[str]:
        """The environments that have queued workflows."""
        ...

    def unfinished(self, workflows: Sequence[WorkflowId]) -> set[WorkflowId]:
        """Those of `workflows` that are known and not finished."""
        ...

    def forget_nonces(self, before: int) -> None:
        """Keep of each provider's nonces up to `before` (nanoseconds) only the highest; all below it count as used."""
        ...

    # dead letters: events that could not be handled, for somebody to read

    def add_dead_letter(self, event_id: str, reason: str, event: Mapping[str, Any], now: datetime) -> None: ...

    def dead_letters(self, limit: int) -> Sequence[Mapping[str, Any]]:
        """Newest first: `event_id`, `at`, `reason`, `event`. An event that was buried twice is there once."""
        ...
