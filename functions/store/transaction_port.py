"""The port to one transaction of the record, inside `Store.begin()`. `SqlTransaction` implements it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from functions.store.log_port import Log
from functions.store.values import (
    Freeze,
    HeldResults,
    HoldKey,
    Intent,
    Slots,
    StoredDecision,
    Tick,
)
from functions.trust.policy import Budget
from functions.workflow.decision import Decision
from functions.workflow.model import JobUid, Record, Workflow, WorkflowId
from functions.workflow.tick import TickLevel


class Transaction(Protocol):
    """One transaction. What `lock`, `slots`, `oldest_queued` and `lock_tick` return stays locked until it ends."""

    @property
    def log(self) -> Log:
        """The log of all histories, in this transaction."""
        ...

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
        """The held results of a workflow; None if there never were any."""
        ...

    def decisions(self, workflow: WorkflowId) -> Sequence[StoredDecision]:
        """Oldest first."""
        ...

    def add_decision(self, workflow: WorkflowId, decision: StoredDecision) -> None:
        """Store a decision; each person decides once."""
        ...

    def freezes(self) -> Sequence[Freeze]:
        """The freezes that hold now."""
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
