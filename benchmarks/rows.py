"""Rows of the table that `make bench` prints."""

from __future__ import annotations

from typing import NamedTuple


class Goal(NamedTuple):
    """The bound that a figure should keep."""

    sign: str
    bound: float

    def __str__(self) -> str:
        return f"{self.sign} {self.bound:g}"

    def met(self, value: float) -> bool:
        return value <= self.bound if self.sign == "≤" else value >= self.bound


class Row(NamedTuple):
    """One figure. A figure without a goal explains those beside it."""

    name: str
    value: float
    unit: str
    goal: Goal | None = None


def at_most(bound: float) -> Goal:
    return Goal("≤", bound)


def at_least(bound: float) -> Goal:
    return Goal("≥", bound)
