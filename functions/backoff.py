"""The pauses between tries."""

from __future__ import annotations

from typing import NamedTuple


class Backoff(NamedTuple):
    """Delays in seconds that begin with `first`, grow by `factor` with each try, and end at `longest`."""

    first: float
    factor: float
    longest: float

    def delay(self, failures: int) -> float:
        """The seconds to wait after so many failures in a row, 1 or more."""
        try:
            return min(self.first * self.factor ** (failures - 1), self.longest)
        except OverflowError:
            return self.longest
