"""What is worth another try, and how long to wait for it."""

from __future__ import annotations

import random
from dataclasses import dataclass


class Trouble(Exception):
    """Something that may be over soon.

    `after`: seconds the other side asked us to wait. `restart`: what we have of the file is of no more use.
    """

    def __init__(self, text: str, after: float | None = None, *, restart: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.after = after
        self.restart = restart


@dataclass(frozen=True)
class Patience:
    """How often to try without any progress, and the seconds in between; timeouts of one connection."""

    tries: int = 6
    first: float = 0.5
    longest: float = 30.0
    connect: float = 10.0
    stall: float = 30.0  # without a byte

    def delay(self, failures: int, trouble: Trouble) -> float:
        """Seconds to wait after the n-th failure in a row: doubling, with jitter, or what the other side asked for."""
        if trouble.after is not None:
            return trouble.after
        return min(self.longest, self.first * 2.0 ** (failures - 1)) * random.uniform(0.5, 1.0)  # noqa: S311
