"""The benches are there and say what they measure against; what they measure is no test."""

from __future__ import annotations

import importlib
import inspect

import pytest

from benchmarks.__main__ import BENCHES, line
from benchmarks.rows import Row, at_least, at_most


@pytest.mark.parametrize("name", BENCHES)
def test_every_bench_can_be_started(name: str) -> None:
    assert inspect.isgeneratorfunction(importlib.import_module(f"benchmarks.{name}").measure)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("x", 2.0, "×", at_most(2)), "reached"),
        (Row("x", 2.1, "×", at_most(2)), "NOT reached"),
        (Row("x", 0.8, "×", at_least(0.8)), "reached"),
        (Row("x", 0.79, "×", at_least(0.8)), "NOT reached"),
        (Row("x", 0.79, "×"), ""),
    ],
)
@pytest.mark.parametrize("markdown", [False, True])
def test_a_row_says_whether_its_bound_was_reached(row: Row, verdict: str, markdown: bool) -> None:
    told = line(row, markdown)
    assert ("NOT reached" in told, "reached" in told) == (verdict.startswith("NOT"), bool(verdict))
