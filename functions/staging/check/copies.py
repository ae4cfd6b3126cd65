"""The rules that compare outputs with the inputs: copied rows, rows that share cells, copied columns.

The outputs are kept in memory and each input is read once, so the memory depends on the size of the outputs and not on
that of the inputs.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import islice, zip_longest

from functions.staging.check.coincidence import Overlap
from functions.staging.check.output_files import OutputFile
from functions.staging.check.overlaps import Overlaps
from functions.staging.check.shapes import parallel_rows
from functions.staging.check.table_rules import is_extreme
from functions.staging.check.tables import (
    DELIMITED_BY,
    DELIMITERS,
    NotATable,
    Row,
    Table,
    delimiter_in,
    flatten,
    parse_json,
    rows_of,
)
from functions.trust import disclosure

MOST_ROWS = 50_000_000  # of one input that are compared; a note says if there are more
SAMPLE = 50_000  # the first rows, by which an input column is judged nearly unique
SAMPLE_VALUES = 500_000  # distinct values of all columns; a table of genes has tens of thousands of columns
NEARLY_UNIQUE = 0.9  # distinct values per row
MOST_SHARED = 250_000  # values that output columns share with one input, counted for each pair of columns
BLOCK_CELLS = 50_000  # cells that are compared at once
EMPTY = -1  # the number of a cell without content
_EXPONENT = re.compile(r"[+-]?[0-9]+(?:\.[0-9]*)?e[+-]?[0-9]{1,3}")


class OutputTable:
    """One table of one output file, and its findings so far."""

    def __init__(self, path: str, table: Table) -> None:
        self.path = path
        self.table = table
        self.copied = 0
        self.overlap: Overlap | None = None
        self.columns: dict[int, set[int]] = {}  # the distinct values of each column
        self.shared: list[tuple[int, str, float]] = []  # own column, input column, percent of values in common


class Comparison:
    """Compares the tables of all outputs with the inputs, one input after another.

    Each distinct cell of the outputs has a number. A row is the sorted numbers of its cells, so the order of columns
    does not matter.
    """

    def __init__(self, outputs: Iterable[tuple[str, Sequence[Table]]], settings: disclosure.Checks) -> None:
        self._values = settings.values
        self._extremes = settings.extremes.level is not disclosure.Level.OFF
        self._cells: dict[str, int] = {}
        self._rows: dict[tuple[int, ...], list[OutputTable]] = defaultdict(list)
        self._overlaps = Overlaps()
        self._copied: set[tuple[int, ...]] = set()
        self.outputs = [OutputTable(path, table) for path, tables in outputs for table in tables]
        self.notes: list[str] = []
        for index, output in enumerate(self.outputs):
            self._add(output, index)
        self._columns = [(output, own) for output in self.outputs for own in output.columns]
        self._holders: dict[int, list[int]] = defaultdict(list)  # the columns that hold a value
        for column, (output, own) in enumerate(self._columns):
            for number in output.columns[own]:
                self._holders[number].append(column)
        self._shared: set[tuple[int, int, int]] = set()  # of the current input: own column, input column, value

    @property
    def is_empty(self) -> bool:
        """Whether the outputs hold no cell to compare."""
        return not self._cells

    def _add(self, output: OutputTable, index: int) -> None:
        names, width = output.table.columns, len(output.table.columns)
        numbers = [[self._number(cell) for cell in row] for row in output.table.rows]
        columns = _columns(numbers, width)
        output.columns = {n: values for n, values in columns.items() if len(values) >= self._values.distinct}
        for row in numbers:
            filled = [number for number in row if number != EMPTY]
            if len(filled) >= 2:
                self._rows[tuple(sorted(filled))].append(output)
        # An extreme is a cell of an input row. The rule `extremes` finds these columns, unless it is off.
        combined = {n: columns[n] for n in columns if not (self._extremes and is_extreme(names[n]))}
        if note := self._overlaps.add(index, combined, numbers, EMPTY):
            self.notes.append(f"{output.path}: {note}")

    def _number(self, written: str) -> int:
        cell = comparable_cell(written)
        return self._cells.setdefault(cell, len(self._cells)) if cell else EMPTY

    def read_input(self, name: str, rows: Iterator[Row], header: Row) -> None:
        """Compare one input with all outputs: `header` is its first row, `rows` are the others."""
        unique = _Uniqueness(header)
        size = max(1, BLOCK_CELLS // max(1, len(header)))
        compared = 0
        while block := list(islice(rows, size)):
            compared += len(block)
            unique.add(block)
            self._compare_block(header, block, unique)
            if compared >= MOST_ROWS:
                self.notes.append(f"{name}: only its first {MOST_ROWS} rows were compared")
                break
        self._overlaps.end_input(name, compared)
        self._judge_shared(name, header, unique)

    def _compare_block(self, header: Row, block: Sequence[Row], unique: _Uniqueness) -> None:
        """Compare some rows. Rows that hold the same known cells are compared once."""
        columns = list(zip_longest(*block, fillvalue=""))
        found = [self._known_cells(column) for column in columns]
        for column, known in enumerate(found[: len(header)]):
            if unique.may_be_nearly_unique(column):
                self._share(column, known.values())
        kept = [(column, known) for column, known in zip(columns, found, strict=True) if known]
        if not kept:
            return
        may_be_whole = len(kept) == len(columns)
        for row, times in Counter(zip(*(map(known.get, column) for column, known in kept), strict=True)).items():
            if may_be_whole and None not in row:
                self._compare_whole(row)
            self._overlaps.compare_row(row, times)

    def _known_cells(self, column: Sequence[str]) -> dict[str, int]:
        """The numbers of those cells of a column that some output holds, and of empty ones, by their text."""
        known = {}
        for written in set(column):
            cell = comparable_cell(written)
            number = self._cells.get(cell) if cell else EMPTY
            if number is not None:
                known[written] = number
        if known:
            counted = Counter(column)
            self._overlaps.count_cells((number, counted[written]) for written, number in known.items())
        return known

    def _share(self, theirs: int, numbers: Iterable[int]) -> None:
        """Record which values of an input column stand in columns of outputs. Takes time only for values that do."""
        for number in numbers:
            if len(self._shared) >= MOST_SHARED:
                return
            self._shared.update((own, theirs, number) for own in self._holders.get(number, ()))

    def _compare_whole(self, row: Iterable[int | None]) -> None:
        whole = tuple(sorted(number for number in row if number is not None and number != EMPTY))
        if whole in self._rows:
            self._copied.add(whole)

    def _judge_shared(self, name: str, header: Row, unique: _Uniqueness) -> None:
        """Keep the pairs of columns that share too many values. Only nearly unique input columns count."""
        if len(self._shared) >= MOST_SHARED:
            self.notes.append(f"{name}: only {MOST_SHARED} of the values that outputs share with it were compared")
        identifies = cache(unique.is_nearly_unique)
        for (column, theirs), count in sorted(Counter((own, theirs) for own, theirs, _ in self._shared).items()):
            output, own = self._columns[column]
            share = count / len(output.columns[own]) * 100
            if share >= self._values.share and identifies(theirs):
                output.shared.append((own, f"{name}:{header[theirs]}", share))
        self._shared.clear()

    def finish(self) -> None:
        """Count what each output shares with the inputs. Call it after the last input."""
        for index, overlap in self._overlaps.found.items():
            self.outputs[index].overlap = overlap
        for row in self._copied:
            for output in self._rows[row]:
                output.copied += 1

    def copies(self, path: str) -> Iterator[str]:
        """Find rows of one output that are rows of an input, or that share cells with one by no coincidence."""
        for output in self._of(path):
            if output.copied:
                yield f"{output.copied} of {len(output.table.rows)} rows are rows of an input"
            if output.overlap is not None and output.overlap.certain:
                yield _described(output.overlap, output.table)

    def overlaps(self, path: str) -> Iterator[str]:
        """Find rows of one output that share cells with one input row each, more than chance explains."""
        for output in self._of(path):
            if output.overlap is not None and not output.overlap.certain:
                yield _described(output.overlap, output.table)

    def values(self, path: str) -> Iterator[str]:
        """Find columns of one output whose values are those of a nearly unique input column."""
        for output in self._of(path):
            for own, theirs, share in output.shared:
                name = output.table.columns[own] if own < len(output.table.columns) else str(own)
                yield f"column {name!r}: {share:.0f} % of its values stand in the input column {theirs}"

    def _of(self, path: str) -> Iterator[OutputTable]:
        return (output for output in self.outputs if output.path == path)


def _described(overlap: Overlap, table: Table) -> str:
    shared = f"{overlap.rows} of {len(table.rows)} rows share cells with one row each of {overlap.name}"
    return f"{shared}; the probability of this by chance is at most {overlap.probability:.1g}"


def _columns(rows: Iterable[Sequence[int]], width: int) -> dict[int, set[int]]:
    """The distinct cells of each column that has a cell. The time follows the number of cells, not of columns."""
    columns: dict[int, set[int]] = defaultdict(set)
    for row in rows:
        for number, cell in enumerate(row[:width]):
            if cell != EMPTY:
                columns[number].add(cell)
    return dict(sorted(columns.items()))


class _Uniqueness:
    """Finds the columns of an input that hold nearly as many distinct values as rows, by its first rows."""

    def __init__(self, header: Row) -> None:
        self._seen: list[set[str]] = [set() for _ in header]
        self._rows = 0
        self._left = SAMPLE  # rows by which the columns may still be judged

    def add(self, block: Sequence[Row]) -> None:
        if sum(map(len, self._seen)) >= SAMPLE_VALUES:
            self._left = 0
        sample = block[: self._left]
        self._left -= len(sample)
        self._rows += len(sample)
        for row in sample:
            for values, cell in zip(self._seen, row, strict=False):
                values.add(comparable_cell(cell))

    def may_be_nearly_unique(self, column: int) -> bool:
        """Whether a column is nearly unique if each row that is left of the sample has a value of its own."""
        return len(self._seen[column]) + self._left >= (self._rows + self._left) * NEARLY_UNIQUE

    def is_nearly_unique(self, column: int) -> bool:
        """Whether a value identifies a row of the input. In a column that counts 1, 2, 3 … it does not."""
        values = self._seen[column]
        return bool(self._rows) and len(values) >= self._rows * NEARLY_UNIQUE and not _is_dense(values)


def _is_dense(values: set[str]) -> bool:
    """Whether the values are whole numbers that fill at least half of their range."""
    if not all(value.isascii() and value.isdigit() and len(value) < 16 for value in values):
        return False
    numbers = set(map(int, values))
    return len(numbers) * 2 >= max(numbers) - min(numbers) + 1


def comparable_cell(cell: str) -> str:
    """Return a cell in the form that is compared: lower case, without white space around, exponents, trailing zeros."""
    text = cell.strip().lower()
    if "e" in text and _EXPONENT.fullmatch(text):  # as NumPy writes numbers: 3.910000000000000142e+01
        text = f"{float(text):.15g}"
    if text.endswith(("0", ".")) and "." in text and text.replace(".", "", 1).lstrip("+-").isdigit():
        text = text.rstrip("0").rstrip(".")
    return text


def input_rows(file: OutputFile) -> Iterator[tuple[str, Iterator[Row], Row]]:
    """The tables of an input: a name, the rows, the header. Raises NotATable; an unknown kind has no tables."""
    kind = file.extension or _guess(file.head)
    if delimiter := DELIMITERS.get(kind):
        with file.open() as stream:
            rows = rows_of(stream, delimiter_in(file.head, delimiter))
            header = next(rows, None)
            if header:
                yield file.path, rows, header
    elif kind == ".json":
        value = parse_json(file.whole())
        for table in flatten(value):
            yield f"{file.path} {table.place}", iter(table.rows), table.columns
        yield f"{file.path} by columns", parallel_rows(value), ()
    else:
        raise NotATable("its kind is not known; outputs were not compared with it")


def _guess(head: bytes) -> str:
    """Return the extension of an input file without one, empty if it is unknown. Ocean names inputs by number."""
    line = head.split(b"\n", 1)[0]
    if head.lstrip()[:1] in (b"{", b"["):
        return ".json"
    return ".csv" if b"\0" not in head and any(each.encode() in line for each in DELIMITED_BY) else ""
