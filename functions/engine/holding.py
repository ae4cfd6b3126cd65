"""Held results in the engine: the key of the quarantine, the files that are released, freezes and budgets."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import msgspec

from functions.cluster.ports import ClusterUnavailable
from functions.errors import BudgetUsedUp
from functions.ethereum import comparable
from functions.results.layout import plain_path
from functions.results.storage import quarantine_url
from functions.store.values import Freeze, HoldKey, LogLeaf, StoredDecision
from functions.trust import decisions, policy
from functions.trust.admission import data_sets
from functions.trust.freeze import is_frozen, leaf
from functions.workflow.model import Record, Stage
from functions.workflow.stage_task import HeldTask
from functions.workflow.tes_task import Document
from functions.workflow.tick import TickLevel

if TYPE_CHECKING:
    from functions.engine.app import App
    from functions.settings import Settings
    from functions.store.transaction_port import Transaction

logger = logging.getLogger(__name__)


def count_run(tx: Transaction, record: Record, now: datetime) -> None:
    """Count a new workflow against the budgets of its policies. Raises BudgetUsedUp."""
    for budget in policy.decode(record.submission.policy).budgets:
        if not tx.use_budget(budget, comparable(record.submission.owner), record.workflow.id, now):
            runs = f"{budget.per_owner} workflows of one owner in {budget.days} days"
            raise BudgetUsedUp(f"the policy {budget.policy} allows {runs}, and they are used up")


def task(tx: Transaction, settings: Settings, record: Record, stage: Stage) -> HeldTask:
    """Return the part of a stage's task about held results. Only release gets the key, and the files that leave."""
    workflow = record.workflow.id
    held = tx.held(workflow)
    key = held.key if held else tx.hold_key(workflow, _new_key())
    made = HeldTask(quarantine=quarantine_url(settings), recipient=key.recipient)
    if stage is not Stage.RELEASE or held is None:
        return made
    leaving = _released_paths(record, tx.decisions(workflow))
    files = tuple(file for file in held.manifest.files if plain_path(file.path) in leaving)
    admin_files = held.manifest.admin_files
    return msgspec.structs.replace(made, identity=key.identity, files=files, admin_files=admin_files)


def _released_paths(record: Record, stored: Sequence[StoredDecision]) -> frozenset[str]:
    """Return the paths that the decisions release."""
    approvals = policy.decode(record.submission.policy).approvals
    return frozenset(decisions.result(approvals, decisions.read_all(each.text for each in stored)).released)


def frozen(tx: Transaction, environment: str, stage: Stage, definition: Document) -> bool:
    """Whether what this stage would let out is frozen."""
    if stage not in (Stage.PUBLISH, Stage.RELEASE):
        return False
    return is_frozen([freeze.scope for freeze in tx.freezes()], environment, data_sets(definition))


def freeze(app: App, new: Freeze) -> None:
    """Freeze a scope, and announce it once."""
    with app.store.begin() as tx:
        if tx.freeze(new):
            _tell(app, tx, "frozen", new.scope, new.at)


def unfreeze(app: App, scope: str) -> bool:
    """Lift a freeze, and announce it. False if the scope was not frozen."""
    with app.store.begin() as tx:
        lifted = tx.unfreeze(scope)
        if lifted:
            _tell(app, tx, "unfrozen", scope, app.clock())
    return lifted


def _tell(app: App, tx: Transaction, kind: str, scope: str, at: datetime) -> None:
    """Announce a freeze or its end, and queue it for the log."""
    if app.settings.signing_key:
        tx.log.wait(LogLeaf(kind, scope, leaf(scope, at, kind == "frozen")))
    if not app.settings.notify_hold_urls:
        return
    tx.tell(kind, scope, at)
    try:
        app.transitions.tick.raise_to(tx, TickLevel.FAST)
    except ClusterUnavailable as e:
        # A freeze must not wait for the cluster. The hourly tick delivers the event.
        logger.warning("the tick stays as it is: %s", e)


def _new_key() -> HoldKey:
    from functions.results.age import new_identity

    return HoldKey(*new_identity())
