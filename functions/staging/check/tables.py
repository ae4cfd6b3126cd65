"""Tables: CSV, TSV and JSON as columns and rows, read in one pass with bounded memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, BinaryIO

from msgspec import Struct, field

from functions.staging.check.output_files import OutputFile

# The part of a table that the rules look at; the rest is parsed and counted, and `rows` finds that it is there.
KEPT = 16 << 20  # bytes, about, of one table
CELL = 64  # bytes, about, beside its characters
TABLE = 1000  # bytes, about, beside its cells: a JSON file may hold a table for each object
MAX_DEPTH = 100
MAX_COLUMNS = 10_000
LONGEST_NAME, LONGEST_PLACE = 60, 200  # characters of a key of a JSON file that many tables may repeat
VALUE = 64  # bytes, about, of a value of a JSON file
BLOCK = 256 << 10  # bytes that are read at once
LONGEST_LINE, LONGEST_ROW = 1 << 20, 4 << 20  # a row may have line ends in quotes
_NO_MARKS = bytes(set(range(256)) - set(b'"\n'))
DELIMITED_BY = (",", ";", "\t", "|")
DELIMITERS = {".csv": ",", ".tsv": "\t"}
Row = Sequence[str]


class NotATable(ValueError):
    """The file is not what its extension says; the text says where."""


class Table(Struct):
    """`rows` holds the first rows, up to a bound; `count` is the number of all. `place`: where in a JSON file it is."""

    columns: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    count: int = 0
    place: str = ""

    @property
    def size(self) -> int:
        """Bytes of memory, about, that the table and its kept rows take."""
        return TABLE + sum(CELL * len(row) + sum(map(len, row)) for row in self.rows)

    @property
    def whole(self) -> bool:
        """Whether every row is kept."""
        return self.count == len(self.rows)

    def column(self, number: int) -> Iterator[str]:
        """The kept cells of one column."""
        return (row[number] for row in self.rows if number < len(row))


def read_tables(file: OutputFile, keep: int = KEPT) -> list[Table]:
    """Return the tables of a CSV, TSV or JSON file; none of another file. Raises NotATable and TooLarge.

    About `keep` bytes of memory are used.
    """
    if delimiter := DELIMITERS.get(file.extension):
        with file.open() as stream:
            return [_delimited(stream, delimiter_in(file.head, delimiter), keep)]
    if file.extension == ".json":
        return flatten(parse_json(file.whole(), keep), keep)
    return []


def delimiter_in(head: bytes, usual: str) -> str:
    """Return the delimiter of a table by its first line. Many programs write a CSV with semicolons or tabs."""
    line = head.split(b"\n", 1)[0]
    counts = {each: line.count(each.encode()) for each in (usual, *DELIMITED_BY)}
    return max(counts, key=lambda each: counts[each])


def rows_of(stream: BinaryIO, delimiter: str) -> Iterator[Row]:
    """The rows of a delimited text, header first; empty lines are left out. Raises NotATable."""
    yield from _Delimited(stream, delimiter)


def _blocks(stream: BinaryIO) -> Iterator[str]:
    """The text, some whole lines at a time. Raises NotATable if it is not UTF-8, or if a line does not end."""
    rest, encoding = b"", "utf-8-sig"
    while chunk := stream.read(BLOCK):
        end = max(chunk.rfind(b"\n"), chunk.rfind(b"\r", 0, -1)) + 1
        if end:
            yield _decoded(rest + chunk[:end], encoding)
            rest, encoding = chunk[end:], "utf-8"
        else:
            rest += chunk
        if len(rest) > LONGEST_LINE:
            raise NotATable(f"it has a line of more than {LONGEST_LINE} bytes")
    if rest:
        yield _decoded(rest, encoding)


def _decoded(content: bytes, encoding: str) -> str:
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        raise NotATable("it is not UTF-8 text") from None
    if "\0" in text:
        raise NotATable("it holds NUL bytes")
    return text


class _Delimited:
    """The rows of a delimited text, without empty lines. Iterate it once, then count what is left."""

    def __init__(self, stream: BinaryIO, delimiter: str) -> None:
        self._counts = False  # rows are only counted from now on, and parsed only where counting needs it
        self._counted = 0  # rows that were not parsed
        self._waits = 0  # characters since the begin of a row that has not ended
        self._row_ended_at = 0  # the line in which the last row ended
        self._reader = csv.reader(self._lines(_blocks(stream)), delimiter=delimiter, strict=True)

    def __iter__(self) -> Iterator[Row]:
        reader = self._reader
        try:
            for row in reader:
                self._row_ended_at = reader.line_num
                if row:
                    yield row
        except csv.Error as e:
            raise NotATable(f"it cannot be read as a table: {e}") from None

    def count_rest(self, rows: Iterator[Row]) -> int:
        """Return how many rows are left in `rows`, the iterator of this object."""
        self._counts = True
        parsed = sum(1 for _ in rows)
        return parsed + self._counted

    def _lines(self, blocks: Iterable[str]) -> Iterator[str]:
        return chain.from_iterable(map(self._block_lines, blocks))

    def _block_lines(self, block: str) -> Iterable[str]:
        """The lines of a block; none if they were counted instead."""
        inside_row = self._reader.line_num != self._row_ended_at
        if self._counts and not inside_row and _has_one_row_per_line(block):
            lines = block.split("\n")
            self._counted += len(lines) - lines.count("") - lines.count("\r")
            return ()
        self._waits = self._waits + len(block) if inside_row else 0
        if self._waits > LONGEST_ROW:
            raise NotATable(f"it has a row of more than {LONGEST_ROW} characters")
        return io.StringIO(block, newline="")


def _has_one_row_per_line(block: str) -> bool:
    """Whether every line of a block is a row: all end with a line feed, and no quotes are open there."""
    if block.count("\r") != block.count("\r\n"):
        return False
    if '"' not in block:
        return True
    marks = block.encode().translate(None, _NO_MARKS)
    return b'"' not in marks.replace(b'""', b"")


def _delimited(stream: BinaryIO, delimiter: str, keep: int) -> Table:
    source = _Delimited(stream, delimiter)
    rows = iter(source)
    header = next(rows, None)
    if not header:
        raise NotATable("it has no header")
    if len(header) > MAX_COLUMNS:
        raise NotATable(f"it has {len(header)} columns; at most {MAX_COLUMNS} can be checked")
    table = Table(tuple(cell.strip() for cell in header))
    for row in rows:
        table.rows.append(row)
        # The rules look for every column in every row, in a short one too.
        keep -= CELL * max(len(row), len(header)) + sum(map(len, row))
        if keep <= 0:
            break
    table.count = len(table.rows) + source.count_rest(rows)
    return table


def parse_json(content: bytes, keep: int = KEPT) -> Any:
    """Return the value of a JSON text. Raises NotATable if it is not JSON, too deep or too large."""
    if sum(map(content.count, (b",", b"[", b"{"))) * VALUE > keep:
        raise NotATable(f"it has more than {keep // VALUE} values, too many to be checked")
    try:
        return json.loads(content.decode("utf-8-sig"), object_pairs_hook=_unique, parse_constant=_no_constant)
    except UnicodeDecodeError:
        raise NotATable("it is not UTF-8 text") from None
    except RecursionError:
        raise NotATable("it is nested too deeply to be checked") from None
    except ValueError as e:
        raise NotATable(f"it is not JSON: {e}") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("an object names a key twice")
    return values


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


def flatten(value: Any, keep: int = KEPT) -> list[Table]:
    """Return the tables in a JSON value: each object's plain members are a row, objects of one shape are one table.

    An array of plain values is a table of one column, named like the array. Raises NotATable if there are too many
    tables or if one is nested too deeply. About `keep` bytes of memory are used.
    """
    most = keep // TABLE
    tables: dict[tuple[str, ...], Table] = {}
    for columns, row, place in _rows(value, "", "$", 0):
        table = tables.get(columns)
        if table is None:
            if len(tables) >= most:
                raise NotATable(f"it has more than {most} tables, too many to be checked")
            table = tables[columns] = Table(columns, place=place)
        table.rows.append(row)
        table.count += 1
    return list(tables.values())


def _rows(value: Any, name: str, place: str, depth: int) -> Iterator[tuple[tuple[str, ...], Row, str]]:
    if depth > MAX_DEPTH:
        raise NotATable(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        plain = {key: each for key, each in value.items() if not isinstance(each, dict | list)}
        if plain:
            yield tuple(plain), [json_cell(each) for each in plain.values()], place
        nested: Iterable[tuple[str, str, Any]] = (
            (key[:LONGEST_NAME], _inside(place, key), each)
            for key, each in value.items()
            if isinstance(each, dict | list)
        )
    elif isinstance(value, list):
        for each in value:
            if not isinstance(each, dict | list):
                yield (name,), [json_cell(each)], place
        if value and all(isinstance(each, list) for each in value):
            yield from _array_rows(value, name, place)
            return
        nested = ((name, f"{place}[{n}]", each) for n, each in enumerate(value) if isinstance(each, dict | list))
    else:
        yield (name,), [json_cell(value)], place
        return
    for key, where, each in nested:
        yield from _rows(each, key, where, depth + 1)


def _inside(place: str, key: str) -> str:
    """The place of an object's member. A long one names only its beginning."""
    return place if len(place) > LONGEST_PLACE else f"{place}.{key[:LONGEST_NAME]}"


def _array_rows(value: Sequence[Sequence[Any]], name: str, place: str) -> Iterator[tuple[tuple[str, ...], Row, str]]:
    """An array of arrays is a table without names; cells that are not plain values count as their JSON text."""
    for row in value:
        cells = [json.dumps(each) if isinstance(each, dict | list) else json_cell(each) for each in row]
        yield tuple(f"{name}[{n}]" for n in range(len(cells))), cells, place


def json_cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)
