"""Tables: CSV, TSV and JSON as columns and rows, read in one pass with bounded memory."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, BinaryIO

from functions.staging.check.output_files import OutputFile

KEPT_CELLS = 500_000  # the cells of a table that the rules look at; the rest is parsed and counted
MAX_DEPTH = 100
MAX_COLUMNS = 10_000
DELIMITERS = {".csv": ",", ".tsv": "\t"}
Row = Sequence[str]


class NotATable(ValueError):
    """The file is not what its ending says; the text says where."""


@dataclass
class Table:
    """`rows` holds the first rows, up to a bound; `count` is the number of all. `place`: where in a JSON file it is."""

    columns: tuple[str, ...]
    rows: list[Row] = field(default_factory=list)
    count: int = 0
    place: str = ""

    @property
    def whole(self) -> bool:
        """Whether every row is kept."""
        return self.count == len(self.rows)

    def column(self, number: int) -> Iterator[str]:
        """The kept cells of one column."""
        return (row[number] for row in self.rows if number < len(row))


def read_tables(file: OutputFile) -> list[Table]:
    """Return the tables of a CSV, TSV or JSON file; none of another file. Raises NotATable and TooLarge."""
    if delimiter := DELIMITERS.get(file.extension):
        with file.open() as stream:
            return [_delimited(rows_of(stream, delimiter))]
    if file.extension == ".json":
        return flatten(parse_json(file.whole()))
    return []


def rows_of(stream: BinaryIO, delimiter: str) -> Iterator[Row]:
    """The rows of a delimited text, header first. Raises NotATable."""
    text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
    try:
        yield from csv.reader(text, delimiter=delimiter, strict=True)
    except UnicodeDecodeError:
        raise NotATable("it is not UTF-8 text") from None
    except csv.Error as e:
        raise NotATable(f"it cannot be read as a table: {e}") from None
    finally:
        text.detach()


def _delimited(rows: Iterator[Row]) -> Table:
    header = next(rows, None)
    if not header:
        raise NotATable("it has no header")
    if len(header) > MAX_COLUMNS:
        raise NotATable(f"it has {len(header)} columns; at most {MAX_COLUMNS} can be checked")
    table = Table(tuple(cell.strip() for cell in header))
    kept = list(islice(rows, max(1, KEPT_CELLS // len(header))))
    if any("\0" in cell for row in kept for cell in row):
        raise NotATable("it holds NUL bytes")
    table.rows = [row for row in kept if row]
    table.count = len(table.rows) + sum(1 for row in rows if row)
    return table


def parse_json(content: bytes) -> Any:
    """Return the value of a JSON text. Raises NotATable for what is not JSON, twice-named keys and depth included."""
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


def flatten(value: Any) -> list[Table]:
    """Return the tables in a JSON value: each object's plain members are a row, objects of one shape are one table.

    An array of plain values is a table of one column, named like the array.
    """
    tables: dict[tuple[str, ...], Table] = {}
    for columns, row, place in _rows(value, "", "$", 0):
        table = tables.setdefault(columns, Table(columns, place=place))
        table.rows.append(row)
        table.count += 1
    return list(tables.values())


def _rows(value: Any, name: str, place: str, depth: int) -> Iterator[tuple[tuple[str, ...], Row, str]]:
    if depth > MAX_DEPTH:
        raise NotATable(f"it is nested more than {MAX_DEPTH} deep")
    if isinstance(value, dict):
        plain = {key: each for key, each in value.items() if not isinstance(each, dict | list)}
        if plain:
            yield tuple(plain), [_cell(each) for each in plain.values()], place
        nested: Iterable[tuple[str, str, Any]] = (
            (key, f"{place}.{key}", each) for key, each in value.items() if isinstance(each, dict | list)
        )
    elif isinstance(value, list):
        for each in value:
            if not isinstance(each, dict | list):
                yield (name,), [_cell(each)], place
        if value and all(isinstance(each, list) for each in value):
            yield from _array_rows(value, name, place)
            return
        nested = ((name, f"{place}[{n}]", each) for n, each in enumerate(value) if isinstance(each, dict | list))
    else:
        yield (name,), [_cell(value)], place
        return
    for key, where, each in nested:
        yield from _rows(each, key, where, depth + 1)


def _array_rows(value: Sequence[Sequence[Any]], name: str, place: str) -> Iterator[tuple[tuple[str, ...], Row, str]]:
    """An array of arrays is a table without names; cells that are no plain values count as their JSON."""
    for row in value:
        cells = [json.dumps(each) if isinstance(each, dict | list) else _cell(each) for each in row]
        yield tuple(f"{name}[{n}]" for n in range(len(cells))), cells, place


def _cell(value: Any) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case _:
            return str(value)
