"""Other shapes in which an output may hold rows of an input: lines of text, several values to a cell, columns as rows.

Only the comparison with the inputs uses them. The other rules judge the tables as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice, zip_longest
from typing import Any

from functions.staging.check.output_files import OutputFile
from functions.staging.check.tables import DELIMITERS, Row, Table, json_cell, parse_json

TEXTS = frozenset({".txt", ".md"})
MOST_CELLS = 300_000  # in the other shapes of all files
MOST_LINES, LONGEST_LINE = 100_000, 10_000  # lines of a text; bytes of a line
LONGEST_PAIR = 1000  # characters of a line that holds a name and a value
WIDE = 12  # columns; the columns of a wider table may be rows of an input
SHORT = 100  # rows; each column of a shorter table may be one row of an input, with a value to a line
_SEPARATORS = str.maketrans(dict.fromkeys(",;|\t_/:~&", ","))
_BEFORE = re.compile(r"""^[\s'"\[({]*([\w.]{1,99}\()?(\w{1,99}=)?[\s'"\[({]*""")  # before a value that a program prints
_OPENING = "'\"[({"
_AFTER = " \t\r\n'\"]}"
_PAIR = re.compile(r"\s*[:=,;|\t]\s*|\s{2,}")  # between a name and its value
_NUMBER = re.compile(r"[-+.]*[0-9]")
_DIGIT = re.compile(r"[0-9]")


def other_shapes(file: OutputFile, tables: Sequence[Table], most: int) -> Iterator[Table]:
    """Yield further tables to compare with the inputs, of at most `most` cells in all.

    A table that is not whole has more rows than were left to compare.
    """
    left = most
    shapes: list[Iterable[Row | None]] = [_lines(file), _records(file)] if file.extension in TEXTS else []
    if file.extension in DELIMITERS:  # a header with numbers may be a row of a table that has no header
        shapes += [[list(table.columns)] for table in tables if any(map(_NUMBER.match, table.columns))]
    if file.extension == ".json" and tables:
        value = parse_json(file.whole())
        shapes += [parallel_rows(value), _arrays(value)]
    shapes += [shape for table in tables for shape in (_split(table), _transposed(table))]
    for shape in shapes:
        rows: list[Row] = []
        count = 0
        for row in shape:
            count += 1
            if row is None:
                continue
            left -= len(row)
            if left < 0:
                break
            rows.append(row)
        if count:
            width = max(map(len, rows), default=0)
            yield Table(tuple(f"{number}. cell" for number in range(1, width + 1)), rows, count)
        if left < 0:
            return


def _lines(file: OutputFile) -> Iterator[Row | None]:
    """The lines of a text that look like rows of a table. None at the end: there are more lines than MOST_LINES."""
    with file.open() as stream:
        for line in islice(iter(lambda: stream.readline(LONGEST_LINE), b""), MOST_LINES):
            cells = _values(line.decode(errors="replace"))
            if len(cells) >= 3:
                yield cells
        if stream.read(1):
            yield None


def _records(file: OutputFile) -> Iterator[Row]:
    """The values of consecutive lines that each hold a name and a value, or one word.

    A repeated name begins another record.
    """
    record: dict[str, str] = {}
    with file.open() as stream:
        for number, line in enumerate(islice(iter(lambda: stream.readline(LONGEST_LINE), b""), MOST_LINES)):
            name, value = _name_and_value(line.decode(errors="replace").strip(), number)
            if not name or name in record or len(record) == SHORT:
                if len(record) >= 3:
                    yield list(record.values())
                record.clear()
            if name:
                record[name] = value
    if len(record) >= 3:
        yield list(record.values())


def _name_and_value(line: str, number: int) -> tuple[str, str]:
    """The name and the value of a line; of a line of one word, its number and the word. Both are empty if it has more.

    An empty line has neither.
    """
    if len(line) > LONGEST_PAIR:
        return "", ""
    parts = _PAIR.split(line, maxsplit=1) if len(_cells(line)) < 3 else ()
    if len(parts) != 2:
        words = line.split()
        parts = words if len(words) == 2 else [f"line {number}", *words]
    return (parts[0], _bare(parts[1])) if len(parts) == 2 else ("", "")


def _split(table: Table) -> Iterator[Row]:
    """The rows that have several values in one cell, with each value as a cell."""
    for row in table.rows:
        cells = _values(row[0]) if len(row) == 1 else [part for cell in row for part in _cells(cell)]
        if len(cells) >= 3 and len(cells) > sum(map(bool, row)):
            yield cells


def _transposed(table: Table) -> Iterator[Row]:
    """The columns of a wide or a short table, as rows."""
    if table.whole and (len(table.columns) > WIDE or 3 <= len(table.rows) <= SHORT):
        for column in zip_longest(table.columns, *table.rows, fillvalue=""):
            yield [cell for cell in column if cell]


def parallel_rows(value: Any) -> Iterator[Row]:
    """The rows of tables that a JSON value holds by columns, as pandas and R write them.

    Columns are arrays or objects of one length in one object. The value must not be nested deeper than MAX_DEPTH of
    tables.py, which `flatten` checks.
    """
    if isinstance(value, dict):
        columns = [list(each.values()) if isinstance(each, dict) else each for each in value.values()]
        columns = [each for each in columns if isinstance(each, list) and len(each) > 1]
        for length in {len(each) for each in columns}:
            same = [each for each in columns if len(each) == length]
            if len(same) >= 3:
                for row in zip(*same, strict=True):
                    yield [json_cell(cell) for cell in row if not isinstance(cell, dict | list)]
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from parallel_rows(each)


def _arrays(value: Any, *, inside: bool = False) -> Iterator[Row]:
    """The short arrays of plain values: each may be a row. An array of nothing but such arrays is a table already.

    `inside`: the value lies in an array of arrays, whose table holds it as JSON text. It must not be nested deeper than
    MAX_DEPTH of tables.py, which `flatten` checks.
    """
    if isinstance(value, dict):
        for each in value.values():
            yield from _arrays(each, inside=inside)
    elif isinstance(value, list):
        plain = [json_cell(each) for each in value if not isinstance(each, dict | list)]
        are_arrays = all(isinstance(each, list) for each in value)
        if 3 <= len(plain) == len(value) <= SHORT:
            yield plain
        elif inside or not are_arrays or any(isinstance(cell, dict | list) for each in value for cell in each):
            for each in value:
                yield from _arrays(each, inside=inside or are_arrays)


def _values(line: str) -> list[str]:
    """The values of a line: between delimiters, or the words if half of them hold a digit, as in a printed table."""
    cells = _cells(line)
    if len(cells) >= 3:
        return cells
    words = [bare for word in line.split() if (bare := _bare(word))]
    return words if 2 * sum(bool(_DIGIT.search(word)) for word in words) >= len(words) else []


def _cells(text: str) -> list[str]:
    return [bare for part in text.translate(_SEPARATORS).split(",") if (bare := _bare(part))]


def _bare(part: str) -> str:
    """A value without what a program prints around it: `'17'`, `[17]`, `mass=17`, `Row(mass=17)`, `np.int64(17)`."""
    bare = part.strip()
    if bare[:1] in _OPENING or "(" in bare or "=" in bare:
        bare = _BEFORE.sub("", bare)
    bare = bare.rstrip(_AFTER)
    return bare if "(" in bare else bare.rstrip(_AFTER + ")")
