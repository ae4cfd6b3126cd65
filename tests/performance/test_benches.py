"""The benches run and compare their figures with goals. The figures themselves are no test."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.postgres import TEMPLATE, fresh_database

from benchmarks import data
from benchmarks.__main__ import BENCHES, line, rows, run
from benchmarks.rows import Row, at_least, at_most


@pytest.fixture
def shared_postgres(postgres_server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the benches use the tests' server instead of one of their own: to start one takes longer than they do."""

    @contextmanager
    def postgres() -> Iterator[str]:
        with fresh_database(postgres_server, f"TEMPLATE {TEMPLATE}") as url:
            yield url.replace("+psycopg2", "")

    monkeypatch.setattr(data, "postgres", postgres)


@pytest.mark.usefixtures("shared_postgres")
@pytest.mark.parametrize("name", BENCHES)
def test_every_bench_can_be_started(name: str) -> None:
    measured = list(rows(name, short=True))
    assert any(row.goal for row in measured)
    assert all(math.isfinite(row.value) and row.value >= 0 for row in measured)
    assert len({row.name for row in measured}) == len(measured)


@pytest.mark.parametrize(
    ("row", "verdict"),
    [
        (Row("x", 2.0, "×", at_most(2)), "met"),
        (Row("x", 2.1, "×", at_most(2)), "MISSED"),
        (Row("x", 0.8, "×", at_least(0.8)), "met"),
        (Row("x", 0.79, "×", at_least(0.8)), "MISSED"),
        (Row("x", 0.79, "×"), ""),
    ],
)
@pytest.mark.parametrize("markdown", [False, True])
def test_a_row_says_whether_its_goal_was_met(row: Row, verdict: str, markdown: bool) -> None:
    told = line(row, markdown)
    assert [word for word in ("met", "MISSED") if word in told] == ([verdict] if verdict else [])


def test_a_bench_that_fails_ends_neither_the_others_nor_the_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def measure(name: str, *, short: bool) -> Iterator[Row]:
        yield Row(f"{name}: before", 1.0, "ms")
        if name == "broken":
            raise RuntimeError("no Postgres")
        yield Row(f"{name}: after", 2.0, "ms", at_most(1))

    monkeypatch.setattr("benchmarks.__main__.rows", measure)
    table = io.StringIO()
    assert run(["broken", "whole"], table, short=True) == 1
    assert table.getvalue().splitlines()[-3:] == [
        "| broken: before | 1.00 ms |  |  |",
        "| whole: before | 1.00 ms |  |  |",
        "| whole: after | 2.00 ms | ≤ 1 | MISSED |",
    ]
    assert capsys.readouterr().out.endswith("1 goals missed; failed: broken\n")
