"""The rules about tables: how long they are, what their columns are called, which numbers stand in them. Pure."""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Iterator, Sequence

from functions.staging.check.tables import Row, Table
from functions.trust import disclosure

COUNTS = frozenset((
    "n", "count", "counts", "freq", "frequency", "total", "cases", "num", "number", "nobs", "observations",
    "size", "patients", "persons", "people",
))  # fmt: skip
EXTREMES = frozenset(
    ("min", "max", "minimum", "maximum", "first", "last", "mode", "smallest", "largest", "lowest", "highest")
)
# Labels of rows, as `describe` of pandas writes them. Fewer than names of columns: a category may be called `first`.
COUNT_ROWS = frozenset(("n", "count", "freq", "frequency", "nobs", "total"))
EXTREME_ROWS = frozenset(("min", "max", "minimum", "maximum"))
_WORD = re.compile(r"[A-Za-z]+|[0-9]+")
_INNER_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_SHOWN = 3  # examples in the text of a finding


def rows(tables: Sequence[Table], settings: disclosure.Rows) -> Iterator[str]:
    """Find tables that are longer than allowed."""
    for table in tables:
        if table.count > settings.max:
            yield f"{_at(table)}{table.count} rows, more than {settings.max}"
        elif not table.whole:
            yield f"{_at(table)}only {len(table.rows)} of {table.count} rows can be checked"


def columns(tables: Sequence[Table], settings: disclosure.Columns) -> Iterator[str]:
    """Find columns that are called like an identifier."""
    wanted = {normal_name(name) for name in (*disclosure.IDENTIFIERS, *settings.identifiers)}
    for table in tables:
        found = [name for name in table.columns if normal_name(name) in wanted]
        if found:
            yield f"{_at(table)}named like an identifier: {_listed(found)}"


def cells(tables: Sequence[Table], settings: disclosure.Cells) -> Iterator[str]:
    """Find counts of few individuals."""
    for table in tables:
        for where, counts in _counts(table, {normal_name(name) for name in settings.columns}):
            small = [cell for cell in counts if _is_small(cell, settings)]
            if small:
                yield f"{_at(table)}{where}: {len(small)} below {settings.threshold}: {_listed(small)}"


def _counts(table: Table, named: Container[str]) -> Iterator[tuple[str, Iterable[str]]]:
    """The cells that are counts, and where they stand: in columns, in labelled rows, or in a table of nothing else."""
    columns = [n for n, name in enumerate(table.columns) if normal_name(name) in named or COUNTS & words(name)]
    for number in columns:
        yield f"column {table.columns[number]!r}", table.column(number)
    if table.place or columns:
        return
    for row in table.rows:
        if _label(row) in COUNT_ROWS:
            yield f"row {row[0]!r}", filter(_is_whole, row[1:])
    labels = _labels(table)
    if labels and all(_is_whole(cell) for row in table.rows for cell in row[labels:]):
        yield "a table of counts", (cell for row in table.rows for cell in row[labels:])


def _labels(table: Table) -> int:
    """How many of the first columns hold no number; 0 if no two columns with numbers follow, or one without a name.

    pandas names a column of sizes `0`.
    """
    for number, name in enumerate(table.columns):
        if any(number_in(cell) is not None for cell in table.column(number)):
            return number if number + 1 < len(table.columns) or name in ("", "0") else 0
    return 0


def _label(row: Row) -> str:
    """The label of a row as it is compared: `Min.` is `min`."""
    return row[0].strip(" .").lower()


def _is_whole(cell: str) -> bool:
    value = number_in(cell)
    return value is not None and value >= 0 and value.is_integer()


def _is_small(cell: str, settings: disclosure.Cells) -> bool:
    value = number_in(cell)
    if value is None:
        return False
    return 0 < value < settings.threshold or (settings.zeros and value == 0)


def extremes(tables: Sequence[Table], settings: disclosure.Extremes) -> Iterator[str]:
    """Find columns that hold the value of one individual."""
    del settings
    for table in tables:
        found = [name for name in table.columns if is_extreme(name)]
        if not table.place:
            found += [row[0] for row in table.rows if _label(row) in EXTREME_ROWS]
        if found:
            yield f"{_at(table)}the value of one individual: {_listed(found)}"


def is_extreme(name: str) -> bool:
    """Whether a column's name says that its values are those of one individual."""
    return bool(EXTREMES & words(name))


def precision(tables: Sequence[Table], settings: disclosure.Precision) -> Iterator[str]:
    """Find numbers with more digits than a statistic needs; digits can carry data."""
    for table in tables:
        for number, name in enumerate(table.columns):
            found = [cell for cell in table.column(number) if significant_digits(cell) > settings.digits]
            if found:
                yield f"{_at(table)}column {name!r}: more than {settings.digits} digits: {_listed(found)}"


def significant_digits(cell: str) -> int:
    """Return how many significant digits a number is written with; 0 for anything that is not a number."""
    text = cell.strip()
    if not _NUMBER.fullmatch(text):
        return 0
    mantissa = text.lower().partition("e")[0].lstrip("+-")
    digits = mantissa.replace(".", "").lstrip("0")
    return len(digits if "." in mantissa else digits.rstrip("0"))


def number_in(cell: str) -> float | None:
    """Return the number that a cell holds, None if it holds none."""
    text = cell.strip()
    return float(text) if len(text) <= 40 and _NUMBER.fullmatch(text) else None


def normal_name(name: str) -> str:
    """Return a column's name without case and separators, as names are compared."""
    return "".join(_WORD.findall(name)).lower()


def words(name: str) -> frozenset[str]:
    """Return the words of a column's name: `body_mass_g_min`, `bodyMassMin` and `Body mass (min)` have `min`."""
    spaced = _INNER_CAPITAL.sub(" ", name)
    return frozenset(word.lower() for word in _WORD.findall(spaced)) | {name.strip().lower()}


def _listed(found: Iterable[str]) -> str:
    every = list(found)
    shown = ", ".join(repr(each[:60]) for each in every[:_SHOWN])
    return f"{shown} and {len(every) - _SHOWN} more" if len(every) > _SHOWN else shown


def _at(table: Table) -> str:
    return f"{table.place}: " if table.place else ""
