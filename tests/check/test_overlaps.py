"""Rows that share cells with input rows: leaks are found, and honest tables of a large input are not blocked."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from math import comb
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.leak_files import DATA, table
from support.leaks import ROWS

from functions.staging.check import coincidence, overlaps
from functions.staging.check.output_files import OutputFile, walk
from functions.staging.check.rule_runner import check
from functions.trust.disclosure import Checks, Extremes, Level

AGE, SEX, REGION, COUNTY, WEIGHT, HEIGHT, NOTE = range(7)
HEADER = ["age", "sex", "region", "county", "weight", "height", "note"]
Rows = Sequence[Sequence[object]]


@cache
def people() -> list[list[str]]:
    """Made-up persons. Weight depends on height, height on sex, and the county follows from the region."""
    dice = random.Random(3)
    made = []
    for _ in range(20_000):
        sex, region = dice.choice("mf"), dice.randint(1, 40)
        height = dice.gauss(176 if sex == "m" else 164, 8)
        weight = dice.gauss(height - 100 + region / 8, 11)
        person = (dice.randint(18, 99), sex, f"r{region}", f"county {region // 4}", f"{weight:.2f}", f"{height:.1f}")
        made.append([*map(str, person), f"text {dice.randint(1, 999)}"])
    return made


def grouped(*keys: int, extremes: bool = False) -> list[list[object]]:
    """The honest table: size of each group, mean weight and height, and on demand their extremes."""
    groups = defaultdict(list)
    for person in people():
        groups[tuple(person[key] for key in keys)].append(person)
    made = []
    for key, members in sorted(groups.items()):
        row: list[object] = [*key, len(members)]
        for column, digits in ((WEIGHT, 2), (HEIGHT, 1)):
            values = [float(member[column]) for member in members]
            row.append(f"{sum(values) / len(values):.{digits}f}")
            row += [f"{each:.{digits}f}" for each in (min(values), max(values))] if extremes else []
        made.append(row)
    return made


def invented(rows: int) -> list[list[object]]:
    """The table of means of other people."""
    dice = random.Random(5)
    return [
        [f"r{n % 40 + 1}", dice.choice("mf"), dice.randint(18, 99), f"{dice.gauss(70, 3):.2f}"] for n in range(rows)
    ]


def taken(*columns: int, rows: int = 300) -> list[list[object]]:
    """The leak: some columns of some persons."""
    return [[person[column] for column in columns] for person in random.Random(7).sample(people(), rows)]


def found(
    tmp_path: Path, content: Rows, header: list[str] | None = None, times: int = 1, checks: Checks | None = None
) -> set[str]:
    """The rules about copies that find something in an output; the input is given so many times."""
    (tmp_path / "outputs").mkdir(parents=True)
    (tmp_path / "outputs" / "a.csv").write_bytes(table(content, header))
    (tmp_path / "people.csv").write_bytes(table(people(), HEADER))
    inputs = [OutputFile(f"inputs/{n}.csv", tmp_path / "people.csv") for n in range(times)]
    (file,) = check(list(walk(tmp_path, "outputs")), inputs, checks or Checks()).files
    return {finding.rule for finding in file.findings} & {"copies", "overlaps"}


@pytest.mark.parametrize(
    "content",
    [
        lambda: grouped(SEX, REGION),
        lambda: grouped(SEX, REGION, COUNTY),
        lambda: grouped(COUNTY, SEX),
        lambda: grouped(AGE, SEX),
        lambda: invented(720),
        lambda: invented(5000),
    ],
)
def test_an_honest_table_is_never_taken_for_a_copy(tmp_path: Path, content: object) -> None:
    assert callable(content)
    assert "copies" not in found(tmp_path, content())


def test_chance_alone_is_no_finding(tmp_path: Path) -> None:
    assert found(tmp_path, invented(720)) == set()


@pytest.mark.parametrize(
    "columns",
    [
        (AGE, SEX, REGION, COUNTY, WEIGHT, HEIGHT),
        (NOTE, HEIGHT, WEIGHT, REGION, SEX),
        (AGE, WEIGHT, HEIGHT),
        (REGION, WEIGHT, HEIGHT),
        (SEX, REGION, WEIGHT),
        (AGE, WEIGHT, NOTE),
    ],
)
def test_three_columns_of_persons_are_found(tmp_path: Path, columns: tuple[int, ...]) -> None:
    assert "copies" in found(tmp_path, taken(*columns))


def test_a_few_persons_among_thousands_of_invented_rows_are_found(tmp_path: Path) -> None:
    assert "copies" in found(tmp_path, [*invented(4900), *taken(REGION, SEX, HEIGHT, WEIGHT, rows=60)])


def test_one_person_among_honest_rows_is_found(tmp_path: Path) -> None:
    honest = grouped(SEX, REGION)
    (person,) = taken(SEX, REGION, AGE, WEIGHT, HEIGHT, rows=1)
    assert found(tmp_path, [*honest[:40], person, *honest[40:]])


@pytest.mark.parametrize(
    "columns", [(AGE, SEX, REGION, COUNTY, WEIGHT, HEIGHT), (SEX, REGION, WEIGHT, NOTE), tuple(range(7))]
)
def test_one_row_of_nothing_but_cells_of_one_person_is_a_copy(tmp_path: Path, columns: tuple[int, ...]) -> None:
    honest = [[f"r{n}", "m", f"{n}.25", f"{n}.5", f"{n}", "", ""][: len(columns)] for n in range(50, 55)]
    assert "copies" in found(tmp_path, [*honest, *taken(*columns, rows=1)])


def test_one_row_that_chance_explains_is_no_copy(tmp_path: Path) -> None:
    """Of 20,000 persons one has that age, sex and region, whichever these are; the county follows from the region."""
    assert found(tmp_path, [["44", "m", "r7", "county 1"]]) == set()


def test_a_row_of_the_most_frequent_values_is_no_copy(tmp_path: Path) -> None:
    modes = [max(set(column), key=column.count) for column in map(list, zip(*people(), strict=True))]
    assert "copies" not in found(tmp_path, [modes])


@pytest.mark.parametrize(("columns", "rule"), [(3, set()), (4, {"overlaps"}), (6, {"copies"})])
def test_with_an_input_of_three_rows_more_cells_must_agree(tmp_path: Path, columns: int, rule: set[str]) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "a.csv").write_bytes(table([ROWS[200][:columns]]))
    (tmp_path / "three.csv").write_bytes(table([ROWS[0], ROWS[200], ROWS[300]]))
    (file,) = check(
        list(walk(tmp_path, "outputs")), [OutputFile("inputs/0.csv", tmp_path / "three.csv")], Checks()
    ).files
    assert {finding.rule for finding in file.findings} == rule


def test_an_input_that_is_given_twice_hides_nothing(tmp_path: Path) -> None:
    assert "copies" in found(tmp_path, taken(AGE, WEIGHT, HEIGHT), times=2)


def test_extremes_are_left_to_their_own_rule_unless_it_is_off(tmp_path: Path) -> None:
    header = ["sex", "region", "n", *(f"{name}_{each}" for name in "wh" for each in ("mean", "min", "max"))]
    content = grouped(SEX, REGION, extremes=True)
    assert "copies" not in found(tmp_path / "on", content, header)
    assert "copies" in found(tmp_path / "off", content, header, checks=Checks(extremes=Extremes(level=Level.OFF)))


def test_a_row_that_many_input_rows_share_recognises_nobody(tmp_path: Path) -> None:
    assert found(tmp_path, taken(SEX, REGION, COUNTY)) == set()


def test_only_a_part_of_very_many_rows_is_combined_and_a_note_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlaps, "MOST_TRIPLES", 1000)
    (tmp_path / "outputs").mkdir()
    for name in "abc":
        (tmp_path / "outputs" / f"{name}.csv").write_bytes(table([["x", "y", str(n), "z"] for n in range(500)]))
    inputs = [OutputFile(f"inputs/{path.name}", path) for path in DATA]
    notes = check(list(walk(tmp_path, "outputs")), inputs, Checks()).notes
    assert [note.rpartition("/")[2] for note in notes] == [
        "a.csv: 500 of 500 rows and 3 columns were compared in threes",
        "b.csv: 500 of 500 rows and 3 columns were compared in threes",
        "c.csv: 0 of 500 rows and 3 columns were compared in threes",
    ]


@given(st.integers(1, 30), st.integers(0, 30), st.floats(1e-6, 0.999))
def test_the_bound_is_above_the_probability(rows: int, number: int, chance: float) -> None:
    number = max(1, min(number, rows))
    exact = sum(comb(rows, n) * chance**n * (1 - chance) ** (rows - n) for n in range(number, rows + 1))
    assert coincidence.tail(number, rows, chance) >= exact * (1 - 1e-9)


def test_four_columns_of_the_penguins_are_found(tmp_path: Path) -> None:
    (tmp_path / "outputs").mkdir()
    (tmp_path / "outputs" / "a.csv").write_bytes(table([row[:4] for row in ROWS]))
    inputs = [OutputFile(f"inputs/{path.name}", path) for path in DATA]
    (file,) = check(list(walk(tmp_path, "outputs")), inputs, Checks()).files
    assert "copies" in {finding.rule for finding in file.findings}
