"""The rules that compare outputs with the inputs: copied rows, rows that can be recognised, copied columns.

The outputs are kept in memory and each input is read once, so the memory depends on the size of the outputs and not on
that of the inputs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice, zip_longest
from math import comb

from functions.staging.check.output_files import OutputFile
from functions.staging.check.tables import DELIMITERS, NotATable, Row, Table, flatten, parse_json, rows_of
from functions.trust import disclosure

MOST_ROWS = 50_000_000  # of one input; a note says so where there are more
MOST_COLUMNS = 12  # of an output row that are combined: those with the most distinct values
MOST_TRIPLES = 400_000  # of all outputs; of a large table fewer columns or rows are combined, and a note says so
MOST_MET = 40  # cells of an input row that are combined: those that the fewest output rows hold
SAMPLE = 50_000  # rows that tell whether an input column is nearly unique
NEARLY_UNIQUE = 0.9
BLOCK_CELLS = 50_000  # that are compared at once
EMPTY = -1  # the number of a cell without content
_SHOWN = 3
_BITS = 21  # of a cell's number in a triple's


@dataclass(eq=False)
class OutputTable:
    """One table of one output file, and what was found of it in the inputs."""

    path: str
    table: Table
    copied: int = 0
    recognised: int = 0
    columns: dict[int, set[int]] = field(default_factory=dict)  # the distinct values of each column
    shared: dict[tuple[int, str], set[int]] = field(default_factory=lambda: defaultdict(set))


class Comparison:
    """Compares the tables of all outputs with the inputs, one input after another.

    Each distinct cell of the outputs has a number. A row is known by the sorted numbers of its cells, so the order of
    columns does not matter. A triple is three cells of one output row. If they stand together in one input row only,
    they recognise that row.
    """

    def __init__(self, outputs: Iterable[tuple[str, Sequence[Table]]], settings: disclosure.Checks) -> None:
        self._values = settings.values
        self._cells: dict[str, int] = {}
        self._rows: dict[tuple[int, ...], list[OutputTable]] = defaultdict(list)
        self._triples: dict[int, int | tuple[int, ...]] = {}  # the outputs, by their index, that hold a triple
        self._pairs: set[int] = set()  # the first two cells of each triple
        self._combined: Counter[int] = Counter()  # in how many output rows a cell is combined
        self._input_rows_of: Counter[int] = Counter()
        self._copied: set[tuple[int, ...]] = set()
        self.outputs = [OutputTable(path, table) for path, tables in outputs for table in tables]
        self.notes: list[str] = []
        for index, output in enumerate(self.outputs):
            self._add(output, index)

    @property
    def is_empty(self) -> bool:
        """Whether the outputs hold no cell to compare."""
        return not self._cells

    def _add(self, output: OutputTable, index: int) -> None:
        width = len(output.table.columns)
        numbers = [[self._number(cell) for cell in row] for row in output.table.rows]
        columns = [{row[n] for row in numbers if n < len(row)} - {EMPTY} for n in range(width)]
        output.columns = {n: values for n, values in enumerate(columns) if len(values) >= self._values.distinct}
        for row in numbers:
            filled = [number for number in row if number != EMPTY]
            if len(filled) >= 2:
                self._rows[tuple(sorted(filled))].append(output)
        widest = sorted(range(width), key=lambda n: -len(columns[n]))
        self._add_triples(output, index, numbers, widest[:MOST_COLUMNS])

    def _add_triples(self, output: OutputTable, index: int, rows: Sequence[Sequence[int]], widest: list[int]) -> None:
        room = max(0, MOST_TRIPLES - len(self._triples))
        while len(widest) > 3 and len(rows) * comb(len(widest), 3) > room:
            widest = widest[:-1]
        each = comb(len(widest), 3)
        most = room // each if each else len(rows)
        if len(rows) > most or (len(widest) < min(MOST_COLUMNS, len(output.table.columns))):
            compared = f"{min(most, len(rows))} of {len(rows)} rows and {len(widest)} columns"
            self.notes.append(f"{output.path}: {compared} were compared in threes")
        for row in rows[:most]:
            chosen = sorted({row[n] for n in widest if n < len(row)} - {EMPTY})
            self._combined.update(chosen)
            for a, b, c in combinations(chosen, 3):
                self._pairs.add(a << _BITS | b)
                self._hold((a << _BITS | b) << _BITS | c, index)

    def _hold(self, triple: int, index: int) -> None:
        known = self._triples.setdefault(triple, index)
        if known != index and (not isinstance(known, tuple) or index not in known):
            self._triples[triple] = (*known, index) if isinstance(known, tuple) else (known, index)

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
            self._compare_block(name, header, block)
            if compared >= MOST_ROWS:
                self.notes.append(f"{name}: only its first {MOST_ROWS} rows were compared")
                break
        self._drop_common(name, header, unique)

    def _compare_block(self, name: str, header: Row, block: Sequence[Row]) -> None:
        """Compare some rows. Rows that hold the same known cells are compared once."""
        columns = list(zip_longest(*block, fillvalue=""))
        found = [self._known_cells(column) for column in columns]
        for column, known in enumerate(found[: len(header)]):
            self._share(f"{name}:{header[column]}", set(known.values()))
        kept = [(column, known) for column, known in zip(columns, found, strict=True) if known]
        if not kept:
            return
        may_be_whole = len(kept) == len(columns)
        for row, times in Counter(zip(*(map(known.get, column) for column, known in kept), strict=True)).items():
            if may_be_whole and None not in row:
                self._compare_whole(row)
            self._compare_triples(row, times)

    def _known_cells(self, column: Iterable[str]) -> dict[str, int]:
        """The numbers of a column's cells, as they are written, that some output holds, and of empty ones."""
        cells = {written: comparable_cell(written) for written in set(column)}
        numbers = {written: self._cells.get(cell) if cell else EMPTY for written, cell in cells.items()}
        return {written: number for written, number in numbers.items() if number is not None}

    def _share(self, theirs: str, numbers: set[int]) -> None:
        for output in self.outputs if numbers else ():
            for own, known in output.columns.items():
                if shared := known & numbers:
                    output.shared[own, theirs] |= shared

    def _compare_whole(self, row: Iterable[int | None]) -> None:
        whole = tuple(sorted(number for number in row if number is not None and number != EMPTY))
        if whole in self._rows:
            self._copied.add(whole)

    def _compare_triples(self, row: Sequence[int | None], times: int) -> None:
        known = self._combined.keys() & row
        if len(known) > MOST_MET:
            known = set(sorted(known, key=self._combined.__getitem__)[:MOST_MET])
        ordered = sorted(known)
        for at, a in enumerate(ordered, start=1):
            for next_, b in enumerate(ordered[at:], start=at + 1):
                pair = a << _BITS | b
                if pair in self._pairs:
                    for c in ordered[next_:]:
                        triple = pair << _BITS | c
                        if triple in self._triples:
                            self._input_rows_of[triple] += times

    def _drop_common(self, name: str, header: Row, unique: _Uniqueness) -> None:
        """Forget shared values of columns that hold few different ones, such as a sex or a year."""
        common = {f"{name}:{header[n]}" for n in range(len(header)) if not unique.is_nearly_unique(n)}
        for output in self.outputs:
            for key in [key for key in output.shared if key[1] in common]:
                del output.shared[key]

    def finish(self) -> None:
        """Count, once all inputs have passed, what each output shares with them."""
        for triple, times in self._input_rows_of.items():
            if times == 1:
                holders = self._triples[triple]
                for index in holders if isinstance(holders, tuple) else (holders,):
                    self.outputs[index].recognised += 1
        for row in self._copied:
            for output in self._rows[row]:
                output.copied += 1

    def copies(self, path: str) -> Iterator[str]:
        """Find rows of one output that are rows of an input, or that name one row of it."""
        for output in self._of(path):
            if output.copied:
                yield f"{output.copied} of {len(output.table.rows)} rows are rows of an input"
            if output.recognised:
                yield f"{output.recognised} combinations of three cells stand in one input row only"

    def values(self, path: str) -> Iterator[str]:
        """Find columns of one output whose values are those of a nearly unique input column."""
        for output in self._of(path):
            for (own, theirs), found in output.shared.items():
                share = len(found) / len(output.columns[own]) * 100
                if share >= self._values.share:
                    name = output.table.columns[own] if own < len(output.table.columns) else str(own)
                    yield f"column {name!r}: {share:.0f} % of its values stand in the input column {theirs}"

    def _of(self, path: str) -> Iterator[OutputTable]:
        return (output for output in self.outputs if output.path == path)


class _Uniqueness:
    """Finds the columns of an input that hold nearly as many values as rows, judged by its first rows."""

    def __init__(self, header: Row) -> None:
        self._seen: list[set[str]] = [set() for _ in header]
        self._rows = 0

    def add(self, block: Sequence[Row]) -> None:
        if self._rows >= SAMPLE:
            return
        self._rows += len(block)
        for row in block:
            for values, cell in zip(self._seen, row, strict=False):
                values.add(comparable_cell(cell))

    def is_nearly_unique(self, column: int) -> bool:
        """Whether a value stands for one row of the input. In a column that counts 1, 2, 3 … it does not."""
        values = self._seen[column]
        return bool(self._rows) and len(values) >= self._rows * NEARLY_UNIQUE and not _is_dense(values)


def _is_dense(values: set[str]) -> bool:
    if not all(value.isascii() and value.isdigit() and len(value) < 16 for value in values):
        return False
    numbers = set(map(int, values))
    return len(numbers) * 2 >= max(numbers) - min(numbers) + 1


def comparable_cell(cell: str) -> str:
    """Return a cell as it is compared: without case, white space, and a number's trailing zeros."""
    text = cell.strip().lower()
    if text.endswith(("0", ".")) and "." in text and text.replace(".", "", 1).lstrip("+-").isdigit():
        text = text.rstrip("0").rstrip(".")
    return text


def input_rows(file: OutputFile) -> Iterator[tuple[str, Iterator[Row], Row]]:
    """The tables of an input: a name, the rows, the header. Raises NotATable; an unknown kind has no tables."""
    kind = file.extension or _guess(file.head)
    if delimiter := DELIMITERS.get(kind):
        with file.open() as stream:
            rows = rows_of(stream, delimiter)
            header = next(rows, None)
            if header:
                yield file.path, rows, header
    elif kind == ".json":
        for table in flatten(parse_json(file.whole())):
            yield f"{file.path} {table.place}", iter(table.rows), table.columns
    else:
        raise NotATable("its kind is not known; outputs were not compared with it")


def _guess(head: bytes) -> str:
    """Ocean names input files by number, without an ending."""
    line = head.split(b"\n", 1)[0]
    if head.lstrip()[:1] in (b"{", b"["):
        return ".json"
    counts = {kind: line.count(delimiter.encode()) for kind, delimiter in DELIMITERS.items()}
    kind = max(counts, key=lambda each: counts[each])
    return kind if counts[kind] and b"\0" not in head else ""
