"""When an effect of the outbox is due: the same in every adapter."""

from __future__ import annotations

from datetime import datetime, timedelta

from functions.workflow.model import Effect, Emit
from functions.workflow.steps import pause

# The handler that decided an effect carries it out at once; the sweep looks only for what it left undone.
GRACE = timedelta(seconds=10)
LONGEST_PAUSE = timedelta(hours=1)


def first_due(effect: Effect, at: datetime) -> datetime:
    """When the sweep may take an effect that was decided at `at`."""
    return at if isinstance(effect, Emit) else at + max(GRACE, pause(effect))


def next_due(until: datetime, tries: int) -> datetime:
    """When an event is due again whose claim ends at `until`: after twice as long with each try but the first."""
    if tries <= 1:
        return until
    return until + min(timedelta(seconds=2 ** min(tries, 20)), LONGEST_PAUSE)
