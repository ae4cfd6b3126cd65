"""The rules that compare outputs with the inputs: copied rows, rows that can be recognised, copied columns.

The outputs are kept in memory and each input is read once, so the memory depends on the size of the outputs and not on
that of the inputs.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import combinations, islice

from functions.staging.check.output_files import OutputFile
from functions.staging.check.tables import DELIMITERS, NotATable, Row, Table, flatten, parse_json, rows_of
from functions.trust import disclosure

MOST_ROWS = 5_000_000  # of one input; a note says so where there are more
MOST_COLUMNS = 12  # of an output row that are combined: those with the most distinct values
SAMPLE = 50_000  # rows that tell whether an input column is nearly unique
NEARLY_UNIQUE = 0.9
BLOCK = 4096  # rows that are compared at once
_SHOWN = 3
Triple = tuple[int, ...]


@dataclass(eq=False)
class OutputTable:
    """One table of one output file, and what was found of it in the inputs."""

    path: str
    table: Table
    copied: int = 0
    recognised: int = 0
    columns: dict[int, set[str]] = field(default_factory=dict)  # the distinct values of each column
    shared: dict[tuple[int, str], set[str]] = field(default_factory=lambda: defaultdict(set))


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
        self._triples: dict[Triple, list[OutputTable]] = defaultdict(list)
        self._input_rows_of: Counter[Triple] = Counter()  # how many input rows hold the triple
        self._copied: set[tuple[int, ...]] = set()
        self.outputs = [OutputTable(path, table) for path, tables in outputs for table in tables]
        self.notes: list[str] = []
        for output in self.outputs:
            self._add(output)

    @property
    def is_empty(self) -> bool:
        """Whether the outputs hold no cell to compare."""
        return not self._cells

    def _add(self, output: OutputTable) -> None:
        columns = list(zip(*_even(output.table), strict=True))
        distinct = [set(map(comparable_cell, column)) - {""} for column in columns]
        least = self._values.distinct
        output.columns = {n: values for n, values in enumerate(distinct) if len(values) >= least}
        widest = sorted(range(len(distinct)), key=lambda n: -len(distinct[n]))[:MOST_COLUMNS]
        for row in output.table.rows:
            ids = [self._id(cell) for cell in map(comparable_cell, row) if cell]
            if len(ids) >= 2:
                self._rows[tuple(sorted(ids))].append(output)
            chosen = {self._id(cell) for n in widest if n < len(row) and (cell := comparable_cell(row[n]))}
            for triple in combinations(sorted(chosen), 3):
                self._triples[triple].append(output)

    def _id(self, cell: str) -> int:
        return self._cells.setdefault(cell, len(self._cells))

    def read_input(self, name: str, rows: Iterator[Row], header: Row) -> None:
        """Compare one input with all outputs: `header` is its first row, `rows` are the others."""
        unique = _Uniqueness(header)
        compared = 0
        while block := list(islice(rows, BLOCK)):
            compared += len(block)
            cells = [list(map(comparable_cell, row)) for row in block]
            unique.add(cells)
            for row in cells:
                self._compare_row(row)
            self._compare_columns(name, header, cells)
            if compared >= MOST_ROWS:
                self.notes.append(f"{name}: only its first {MOST_ROWS} rows were compared")
                break
        self._drop_common(name, header, unique)

    def _compare_row(self, row: Sequence[str]) -> None:
        known = [number for cell in row if cell and (number := self._cells.get(cell)) is not None]
        if len(known) < 2:
            return
        whole = tuple(sorted(known))
        if whole in self._rows and len(known) == sum(map(bool, row)):
            self._copied.add(whole)
        if len(known) >= 3:
            for triple in self._triples.keys() & set(combinations(sorted(set(known)), 3)):
                self._input_rows_of[triple] += 1

    def _compare_columns(self, name: str, header: Row, block: Sequence[Sequence[str]]) -> None:
        width = len(header)
        for number, column in enumerate(zip(*(row for row in block if len(row) == width), strict=False)):
            values = set(column)
            for output in self.outputs:
                for own, known in output.columns.items():
                    if found := known & values:
                        output.shared[own, f"{name}:{header[number]}"] |= found

    def _drop_common(self, name: str, header: Row, unique: _Uniqueness) -> None:
        """Forget shared values of columns that hold few different ones, such as a sex or a year."""
        common = {f"{name}:{header[n]}" for n in range(len(header)) if not unique.is_nearly_unique(n)}
        for output in self.outputs:
            for key in [key for key in output.shared if key[1] in common]:
                del output.shared[key]

    def finish(self) -> None:
        """Count, once all inputs have passed, what each output shares with them."""
        recognised: dict[OutputTable, set[Triple]] = defaultdict(set)
        for triple, times in self._input_rows_of.items():
            if times == 1:
                for output in self._triples[triple]:
                    recognised[output].add(triple)
        for output in self.outputs:
            output.recognised = len(recognised[output])
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
    """Which columns of an input hold nearly as many values as rows, judged by its first rows."""

    def __init__(self, header: Row) -> None:
        self._seen: list[set[str]] = [set() for _ in header]
        self._rows = 0

    def add(self, block: Sequence[Sequence[str]]) -> None:
        if self._rows >= SAMPLE:
            return
        self._rows += len(block)
        for row in block:
            for values, cell in zip(self._seen, row, strict=False):
                values.add(cell)

    def is_nearly_unique(self, column: int) -> bool:
        """Whether a value stands for one row of the input. In a column that counts 1, 2, 3 … it does not."""
        values = self._seen[column]
        return bool(self._rows) and len(values) >= self._rows * NEARLY_UNIQUE and not _is_dense(values)


def _is_dense(values: set[str]) -> bool:
    if not all(value.isascii() and value.isdigit() and len(value) < 16 for value in values):
        return False
    numbers = set(map(int, values))
    return len(numbers) * 2 >= max(numbers) - min(numbers) + 1


@lru_cache(1 << 16)  # most cells come again
def comparable_cell(cell: str) -> str:
    """Return a cell as it is compared: without case, white space, and a number's trailing zeros."""
    text = cell.strip().lower()
    if "." in text and text.replace(".", "", 1).lstrip("+-").isdigit():
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


def _even(table: Table) -> Iterator[Row]:
    """The rows, all as wide as the header."""
    width = len(table.columns)
    for row in table.rows:
        yield [*row[:width], *[""] * (width - len(row))]
