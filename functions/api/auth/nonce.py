"""Converts nonces to nanoseconds since 1970.

A nonce is a time in seconds (below 10^11, a fraction is allowed), milliseconds (13 digits), microseconds (16) or
nanoseconds (19), as a number or a string. One unit makes the nonces of all clients, and those in an operator-service
database, comparable.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

# Clocks differ by minutes. A nonce in a wrong, larger unit would refuse all later ones of its provider.
FARTHEST_AHEAD = timedelta(days=1)
# Each used nonce is kept this long, so that requests may arrive out of order. Two clocks differ by far less.
REMEMBERED = timedelta(minutes=15)
_TIME = re.compile(r"[0-9]{1,20}(\.[0-9]{1,9})?")
_UNITS = ((11, 10**9), (14, 10**6), (17, 10**3))  # (n, nanoseconds): values below 10^n are in this unit


def nanoseconds(nonce: Any) -> int:
    """Return the nonce in nanoseconds. Raises ValueError if it is not a time."""
    text = str(nonce)
    if not isinstance(nonce, int | float | str | Decimal) or not _TIME.fullmatch(text):
        raise ValueError("nonce must be the current time in seconds, milliseconds or nanoseconds since 1970")
    value = Decimal(text)
    factor = next((factor for digits, factor in _UNITS if value < 10**digits), 1)
    return int(value * factor)


def too_far_ahead(nonce: int, now: datetime) -> bool:
    """Return whether a nonce in nanoseconds is more than a day ahead of `now`."""
    return nonce > _nanoseconds_at(now + FARTHEST_AHEAD)


def forgettable(now: datetime) -> int:
    """Return the nonce, in nanoseconds, up to which only each provider's highest nonce must be kept."""
    return _nanoseconds_at(now - REMEMBERED)


def _nanoseconds_at(time: datetime) -> int:
    return int(time.timestamp() * 10**9)
