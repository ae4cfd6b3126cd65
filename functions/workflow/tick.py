"""The tick that starts a sweep comes as often as the record needs it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from enum import IntEnum

from functions.workflow.decision import Decision, Emit

SLOW_PERIOD = timedelta(minutes=10)
FAST_PERIOD = timedelta(seconds=15)
# The tick is fast while something is due within this time.
FAST_WITHIN = timedelta(seconds=210)


class TickLevel(IntEnum):
    """How often the tick comes. A higher level comes more often."""

    NONE = 0  # no workflow is unfinished and no intent is open
    SLOW = 1  # each SLOW_PERIOD
    FAST = 2  # each FAST_PERIOD


def level_for(*, soon: bool, ever: bool) -> TickLevel:
    """The level of a record in which something is due within FAST_WITHIN (`soon`), or is unfinished at all (`ever`)."""
    if soon:
        return TickLevel.FAST
    return TickLevel.SLOW if ever else TickLevel.NONE


def level_needed(decisions: Iterable[Decision], now: datetime) -> TickLevel:
    """The level that the new states need, and the events that only a sweep delivers.

    All other effects are carried out at once; those of a finished workflow that are left open can wait for any tick.
    """
    return max((_needed(decision, now) for decision in decisions), default=TickLevel.NONE)


def _needed(decision: Decision, now: datetime) -> TickLevel:
    wake_at = None if decision.workflow.finished else decision.workflow.wake_at
    delivers = any(isinstance(effect, Emit) for effect in decision.effects)
    soon = delivers or (wake_at is not None and wake_at < now + FAST_WITHIN)
    return level_for(soon=soon, ever=wake_at is not None)
