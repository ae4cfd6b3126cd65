"""The rows of the table that `make bench` prints."""

from __future__ import annotations

from typing import NamedTuple


class Reach(NamedTuple):
    """What a figure is to reach."""

    sign: str
    bound: float

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"

    def reached(self, value: float) -> bool:
        return value <= self.bound if self.sign == "≤" else value >= self.bound


class Row(NamedTuple):
    """One figure. Those without `reach` are there to be read beside the others."""

    name: str
    value: float
    unit: str
    reach: Reach | None = None


def at_most(bound: float) -> Reach:
    return Reach("≤", bound)


def at_least(bound: float) -> Reach:
    return Reach("≥", bound)
