"""Keeps the tick at the level that the record needs: raised before the commit that needs it, lowered after."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from functions.cluster.ports import ClusterUnavailable
from functions.log import about
from functions.store.values import Tick
from functions.workflow.decision import Decision
from functions.workflow.tick import TickLevel, level_needed

if TYPE_CHECKING:
    from functions.engine.app import App
    from functions.store.transaction_port import Transaction

logger = logging.getLogger(__name__)


class TickControl:
    """Raises the tick in the transactions that need it, and lowers it after a sweep.

    One row has the level that the record needs and the level that the cluster was last set to. If they differ, the next
    sweep sets the cluster. A transaction that changes the row locks it, as its last lock.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    def raise_for(self, tx: Transaction, decisions: Sequence[Decision], now: datetime) -> None:
        """Raise the tick if the decisions need more than `tx.tick_level`. Costs no statement if they do not."""
        needed = level_needed(decisions, now)
        if needed > tx.tick_level:
            self.raise_to(tx, needed)

    def raise_for_new(self, tx: Transaction, decisions: Sequence[Decision], now: datetime) -> None:
        """Like `raise_for`, for a new workflow. Until the commit no sweep sees it, and none may lower the tick."""
        if not tx.hold_fast_tick():
            self.raise_to(tx, level_needed(decisions, now))

    def raise_to(self, tx: Transaction, needed: TickLevel) -> None:
        """Raise the tick to a level.

        Raises ClusterUnavailable if no tick exists and none can be created: nothing would wake the record.
        """
        tick = tx.lock_tick()
        if needed <= tick.level:
            return
        applied = tick.applied
        if tick.level is TickLevel.NONE or applied < needed:
            try:
                self._app.cluster.set_tick(needed)
                applied = needed
            except ClusterUnavailable as e:
                if TickLevel.NONE in (tick.level, applied):
                    raise
                logger.warning("the tick stays slow until the next one: %s", e)
        tx.save_tick(Tick(needed, applied))

    def settle(self, started_by: TickLevel | None) -> None:
        """Set the level that the record needs now, and tell the cluster.

        `started_by`: the level of the tick that started the sweep; None for the hourly tick and `sluice sweep`.
        Raises ClusterUnavailable; the next sweep then tells the cluster.
        """
        with self._app.store.begin() as tx:
            # Submissions hold the row with a shared lock, so it is locked only to be changed.
            before, needed = tx.read_tick(), tx.backlog(self._app.clock())
            if needed is not before.level:
                before, needed = tx.lock_tick(), tx.backlog(self._app.clock())
            # Only a tick of the recorded level lowers it.
            level = needed if needed >= before.level or started_by is before.level else before.level
            if level is not before.level:
                tx.save_tick(Tick(level, before.applied))
        # Lowering takes two ticks: this one lowers the level in the record, the next one tells the cluster. By then all
        # transactions that read the higher level are committed, and what they made due is counted.
        if level < before.level:
            return
        confirmed = started_by is level or (started_by is None and level is TickLevel.NONE)
        if before.applied is not level or not confirmed:
            self._apply()

    def _apply(self) -> None:
        with self._app.store.begin() as tx:
            tick = tx.lock_tick()
            self._app.cluster.set_tick(tick.level)
            tx.save_tick(Tick(tick.level, tick.level))
        logger.info("tick set", extra=about(tick=tick.level.name))
