"""Held results, decisions, freezes and budgets of the record in memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from functions.store.values import Freeze, HeldResults, HoldKey, StoredDecision
from functions.trust.policy import Budget
from functions.workflow.model import Manifest, Workflow, WorkflowId

ABSENT: Any = object()  # put, it removes an entry
Put = Callable[[dict[Any, Any], Any, Any], None]


@dataclass(slots=True)
class HoldTables:
    """Values are immutable, as in the other tables."""

    holds: dict[WorkflowId, HeldResults] = field(default_factory=dict)
    decisions: dict[tuple[WorkflowId, str], StoredDecision] = field(default_factory=dict)
    freezes: dict[str, Freeze] = field(default_factory=dict)
    runs: dict[tuple[str, str, WorkflowId], datetime] = field(default_factory=dict)

    def decisions_of(self, workflow: WorkflowId) -> Sequence[StoredDecision]:
        found = [decision for (owner, _), decision in self.decisions.items() if owner == workflow]
        return sorted(found, key=lambda decision: (decision.at, decision.by))

    def frozen(self) -> Sequence[Freeze]:
        return sorted(self.freezes.values(), key=lambda freeze: (freeze.at, freeze.scope))


class HoldTransaction:
    """The part of a transaction that is about held results."""

    def __init__(self, tables: HoldTables, put: Put) -> None:
        self._holds = tables
        self._set = put

    def hold_key(self, workflow: WorkflowId, new: HoldKey) -> HoldKey:
        held = self._holds.holds.get(workflow) or HeldResults(workflow, "", new, Manifest())
        self._set(self._holds.holds, workflow, held)
        return held.key

    def hold(self, workflow: Workflow, manifest: Manifest) -> None:
        if held := self._holds.holds.get(workflow.id):
            self._set(self._holds.holds, workflow.id, replace(held, manifest=manifest, head=workflow.head))

    def forget_key(self, workflow: WorkflowId) -> None:
        if held := self._holds.holds.get(workflow):
            self._set(self._holds.holds, workflow, replace(held, key=replace(held.key, identity="")))

    def held(self, workflow: WorkflowId) -> HeldResults | None:
        return self._holds.holds.get(workflow)

    def decisions(self, workflow: WorkflowId) -> Sequence[StoredDecision]:
        return self._holds.decisions_of(workflow)

    def add_decision(self, workflow: WorkflowId, decision: StoredDecision) -> None:
        key = (workflow, decision.by)
        self._set(self._holds.decisions, key, self._holds.decisions.get(key, decision))

    def freezes(self) -> Sequence[Freeze]:
        return self._holds.frozen()

    def freeze(self, freeze: Freeze) -> bool:
        if freeze.scope in self._holds.freezes:
            return False
        self._set(self._holds.freezes, freeze.scope, freeze)
        return True

    def unfreeze(self, scope: str) -> bool:
        if scope not in self._holds.freezes:
            return False
        self._set(self._holds.freezes, scope, ABSENT)
        return True

    def use_budget(self, budget: Budget, owner: str, workflow: WorkflowId, now: datetime) -> bool:
        since = now - timedelta(days=budget.days)
        used = [at for (policy, who, _), at in self._holds.runs.items() if (policy, who) == (budget.policy, owner)]
        if sum(at > since for at in used) >= budget.per_owner:
            return False
        self._set(self._holds.runs, (budget.policy, owner, workflow), now)
        return True
