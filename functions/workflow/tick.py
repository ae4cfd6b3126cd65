"""The levels of the tick that starts a sweep, and the level that the record needs. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import IntEnum

from functions.workflow.decision import Decision, Emit
from functions.workflow.model import Phase

SLOW_PERIOD = timedelta(minutes=10)
MEDIUM_PERIOD = timedelta(minutes=2)
FAST_PERIOD = timedelta(seconds=15)
# The tick is at least medium, or fast, while something is due within this time.
MEDIUM_WITHIN = timedelta(minutes=7)
FAST_WITHIN = timedelta(minutes=1)
# Held results wait for a decision, often for weeks. The hourly tick is enough for what is due after this time.
HOURLY_WITHIN = timedelta(minutes=70)


class TickLevel(IntEnum):
    """The frequency of the tick. A higher level comes more often."""

    NONE = 0  # no workflow is unfinished, except held ones that are due much later; the hourly tick remains
    SLOW = 1
    MEDIUM = 2
    FAST = 3


PERIODS = {TickLevel.SLOW: SLOW_PERIOD, TickLevel.MEDIUM: MEDIUM_PERIOD, TickLevel.FAST: FAST_PERIOD}
# How far ahead a sweep looks that a tick of this level starts. What is due before the next tick would else be checked
# late, or would make the tick come more often.
AHEAD = {TickLevel.SLOW: SLOW_PERIOD - timedelta(minutes=1), TickLevel.MEDIUM: MEDIUM_PERIOD - timedelta(seconds=20)}


def level_for(due: datetime | None, now: datetime, *, waits: bool = True) -> TickLevel:
    """The level for what is due next. `waits`: only held results wait, so the hourly tick may be enough."""
    if due is not None and due < now + FAST_WITHIN:
        return TickLevel.FAST
    if due is not None and due < now + MEDIUM_WITHIN:
        return TickLevel.MEDIUM
    if not waits or (due is not None and due < now + HOURLY_WITHIN):
        return TickLevel.SLOW
    return TickLevel.NONE


def level_needed(decisions: Iterable[Decision], now: datetime) -> TickLevel:
    """The level that the new states need, and the events that only a sweep delivers.

    All other effects are carried out at once; those of a finished workflow that are left open can wait for any tick.
    """
    return max((_needed(decision, now) for decision in decisions), default=TickLevel.NONE)


def _needed(decision: Decision, now: datetime) -> TickLevel:
    if any(isinstance(effect, Emit) and not effect.after for effect in decision.effects):
        return TickLevel.FAST
    w = decision.workflow
    return TickLevel.NONE if w.finished else level_for(w.wake_at, now, waits=w.phase is Phase.HELD)
