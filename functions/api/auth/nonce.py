"""Nonces as numbers of one unit, whatever unit the client counts in.

A nonce is a time: seconds with or without a fraction (below 10^11), milliseconds (13 digits), microseconds (16) or
nanoseconds (19), sent as a number or as a string. All become nanoseconds since 1970, so that a client that
changes its unit goes on, and nonces from an operator-service database compare with new ones.
"""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

# Clocks differ by minutes; a nonce a whole unit too large would lock its provider out for ever.
FARTHEST_AHEAD = timedelta(days=1)
# So long each used nonce is remembered by itself, and requests may overtake each other. Well above what two clocks,
# a provider's and one of ours, are apart.
REMEMBERED = timedelta(minutes=15)
_TIME = re.compile(r"[0-9]{1,20}(\.[0-9]{1,9})?")
_UNITS = ((11, 10**9), (14, 10**6), (17, 10**3))  # below 10^n: so many nanoseconds in one


def nanoseconds(nonce: Any) -> int:
    """The nonce in nanoseconds. Raises ValueError if it is not a time."""
    text = str(nonce)
    if not isinstance(nonce, int | float | str | Decimal) or not _TIME.fullmatch(text):
        raise ValueError("nonce must be the current time in seconds, milliseconds or nanoseconds since 1970")
    value = Decimal(text)
    factor = next((factor for digits, factor in _UNITS if value < 10**digits), 1)
    return int(value * factor)


def too_far_ahead(nonce: int, now: datetime) -> bool:
    """Whether a nonce in nanoseconds is a mistake: more than a day ahead of `now`."""
    return nonce > _nanoseconds_at(now + FARTHEST_AHEAD)


def forgettable(now: datetime) -> int:
    """Up to which nonce, in nanoseconds, a provider need not be remembered by more than its highest."""
    return _nanoseconds_at(now - REMEMBERED)


def _nanoseconds_at(time: datetime) -> int:
    return int(time.timestamp() * 10**9)
