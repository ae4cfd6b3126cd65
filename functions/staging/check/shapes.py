"""Other shapes in which an output may hold rows of an input, each as a further table to compare.

The input holds the row `Adelie, 39.1, 18.7`. Each of these shapes gives this row back:

    a line of a text or of markup       Adelie,39.1,18.7     <tr><td>Adelie<td>39.1<td>18.7</tr>
    brackets in a line                  [('Adelie', 39.1, 18.7), ('Gentoo', 47.5, 14.9)]
    several lines, one for each value   species: Adelie ⏎ bill: 39.1 ⏎ depth: 18.7
    several lines, one for each column  species: Adelie, Gentoo ⏎ bill: 39.1, 47.5 ⏎ depth: 18.7, 14.9
    one cell of a table                 x,Adelie;39.1;18.7   {"table": "Adelie,39.1,18.7 ⏎ Gentoo,47.5,14.9"}
    a column of a table                 x,Adelie ⏎ y,39.1 ⏎ z,18.7
    the header of a table               Adelie,39.1,18.7 ⏎ Gentoo,47.5,14.9
    an array of JSON                    {"typical": ["Adelie", 39.1, 18.7]}
    columns of JSON                     {"species": ["Adelie", …], "bill": [39.1, …], "depth": [18.7, …]}

Only the comparison with the inputs uses these tables. The other rules judge the tables as they are.
"""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, zip_longest
from typing import Any

from functions.staging.check.output_files import OutputFile
from functions.staging.check.pictures import LONGEST_MARKUP
from functions.staging.check.tables import DELIMITERS, Row, Table, json_cell, parse_json
from functions.staging.check.values_in_text import name_and_value, values_in_cell, values_in_line, words_in_line

TEXTS = frozenset({".txt", ".md"})
MARKUP = frozenset({".svg", ".html", ".htm", ".xhtml"})
MOST_CELLS = 300_000  # in the other shapes of all files
MOST_LINES, LONGEST_LINE = 100_000, 10_000  # lines of a text; bytes of a line
WIDE = 12  # columns; the columns of a wider table may be rows of an input
SHORT = 100  # rows; each column of a shorter table may be one row of an input, with a value to a line
LEAST = 3  # values; fewer identify no row of an input
SHORTEST_ROW = 2 * LEAST - 1  # characters, with what stands between the values
_MORE: Row = ()  # in place of a row: there are more than are looked at
_NUMBER = re.compile(r"[-+.]*[0-9]")
_END_OF_ROW = re.compile(r"</(?:tr|text|p|li|div|pre|title|desc)\b[^<>]*>|<br\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"(?:<[/!?A-Za-z][^<>]*+>)++")
_END_OF_BRACKETS = re.compile(r"[)\]}]\s*[,;]")


def other_shapes(file: OutputFile, tables: Sequence[Table], most: int) -> Iterator[Table]:
    """Yield further tables to compare with the inputs, of at most `most` cells in all.

    `tables` are those of the file itself. A table that is not whole has more rows than were left to compare.
    """
    room = most
    is_full = False
    for shape in _shapes(file, tables):
        rows: list[Row] = []
        more = 0
        for row in shape:
            is_full = len(row) > room
            if row is _MORE or is_full:
                more = 1
                break
            rows.append(row)
            room -= len(row)
        if rows or more:
            width = max(map(len, rows), default=0)
            yield Table(tuple(f"{number}. cell" for number in range(1, width + 1)), rows, len(rows) + more)
        if is_full:
            return


def _shapes(file: OutputFile, tables: Sequence[Table]) -> Iterator[Iterable[Row]]:
    """The rows of each shape that a file of this kind may have."""
    if file.extension in TEXTS | MARKUP:
        yield _rows_in_lines(_lines(file))
        yield _rows_in_lines(_brackets(file))
        yield _columns_in_lines(_lines(file))
        yield _columns_in_lines(_brackets(file))
        yield _rows_over_lines(_lines(file))
    if file.extension in MARKUP:
        yield _rows_in_lines(_markup_rows(file))
    if file.extension in DELIMITERS:
        yield (list(table.columns) for table in tables if any(map(_NUMBER.match, table.columns)))
    if file.extension == ".json" and tables:
        value = parse_json(file.whole())
        yield parallel_rows(value)
        yield _short_arrays(value)
    for table in tables:
        yield _split(table)
        yield _rows_in_lines(line for row in table.rows for cell in row if "\n" in cell for line in cell.split("\n"))
        yield _transposed(table)


def _lines(file: OutputFile) -> Iterator[str]:
    """The lines of a text, or of markup, with `|` in place of tags."""
    if file.extension in MARKUP:
        for line in _TAG.sub("|", _END_OF_ROW.sub("\n", _markup(file))).split("\n"):
            yield html.unescape(line).strip("| ")
        return
    with file.open() as stream:
        for content in iter(lambda: stream.readline(LONGEST_LINE), b""):
            line = content.decode(errors="replace")
            yield _TAG.sub("|", line).strip("| ") if "<" in line else line


def _markup_rows(file: OutputFile) -> Iterator[str]:
    """The rows and paragraphs of markup that take several lines, each as one line, with `|` in place of tags."""
    for row in _END_OF_ROW.split(_markup(file)):
        if "\n" in row:
            yield html.unescape(_TAG.sub("|", row.replace("\n", " "))).strip("| ")


def _markup(file: OutputFile) -> str:
    """The whole of a file; nothing of a file that is too large, which the rule about active content blocks."""
    return file.whole(LONGEST_MARKUP).decode(errors="replace") if file.size <= LONGEST_MARKUP else ""


def _brackets(file: OutputFile) -> Iterator[str]:
    """What stands in each pair of brackets of a line, where there are several: tuples of Python, vectors of R."""
    for line in _lines(file):
        parts = _END_OF_BRACKETS.split(line) if ")" in line or "]" in line or "}" in line else ()
        yield from parts if len(parts) > 1 else ("",)


def _rows_in_lines(lines: Iterable[str]) -> Iterator[Row]:
    """The lines that look like rows of a table."""
    for number, line in enumerate(lines):
        if number == MOST_LINES:
            yield _MORE
            return
        values = values_in_line(line) if len(line) >= SHORTEST_ROW else ()
        if len(values) >= LEAST:
            yield values


def _columns_in_lines(lines: Iterable[str]) -> Iterator[Row]:
    """The rows of a table whose columns are consecutive lines, at most SHORT: `str` and `dput` of R write such."""
    columns: list[Row] = []
    for line in chain(islice(lines, MOST_LINES), ("",)):
        words = words_in_line(line) if " " in line or "," in line else ()
        if len(words) >= LEAST:
            if len(columns) <= SHORT:
                columns.append(words)
            continue
        if LEAST <= len(columns) <= SHORT and len({len(column) for column in columns}) <= LEAST:
            yield from _turned(columns)
        columns = []


def _turned(lines: Sequence[Row]) -> Iterator[Row]:
    """The values of the same place in each line, counted from the end: a name, or several words, may stand before."""
    for row in zip_longest(*map(reversed, lines), fillvalue=""):
        values = [value for value in row if value]
        if len(values) >= LEAST:
            yield values


def _rows_over_lines(lines: Iterable[str]) -> Iterator[Row]:
    """The values of consecutive lines that each hold a name and a value, or one word.

    A repeated name begins another row.
    """
    row: dict[str, str] = {}
    for number, line in enumerate(islice(lines, MOST_LINES)):
        name, value = name_and_value(line.strip(), number)
        if not name or name in row or len(row) == SHORT:
            if len(row) >= LEAST:
                yield list(row.values())
            row.clear()
        if name:
            row[name] = value
    if len(row) >= LEAST:
        yield list(row.values())


def _split(table: Table) -> Iterator[Row]:
    """The rows that have several values in one cell, with each value as a cell."""
    for row in table.rows:
        values = values_in_line(row[0]) if len(row) == 1 else [value for cell in row for value in values_in_cell(cell)]
        if len(values) >= LEAST and len(values) > sum(map(bool, row)):
            yield values


def _transposed(table: Table) -> Iterator[Row]:
    """The columns of a wide or a short table, as rows."""
    if table.whole and (len(table.columns) > WIDE or LEAST <= len(table.rows) <= SHORT):
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
            if len(same) >= LEAST:
                for row in zip(*same, strict=True):
                    yield [json_cell(cell) for cell in row if not _is_nested(cell)]
    for each in _members(value):
        yield from parallel_rows(each)


def _short_arrays(value: Any, *, inside: bool = False) -> Iterator[Row]:
    """The short arrays of plain values: each may be a row. An array of nothing but such arrays is a table already.

    `inside`: the value lies in an array of arrays, whose table holds it as JSON text. It must not be nested deeper than
    MAX_DEPTH of tables.py, which `flatten` checks.
    """
    members = list(_members(value))
    if not isinstance(value, list):
        for each in members:
            yield from _short_arrays(each, inside=inside)
        return
    if LEAST <= len(members) <= SHORT and not any(map(_is_nested, members)):
        yield list(map(json_cell, members))
        return
    are_arrays = all(isinstance(each, list) for each in members)
    is_table = are_arrays and not any(_is_nested(cell) for each in members for cell in each)
    if inside or not is_table:
        for each in members:
            yield from _short_arrays(each, inside=inside or are_arrays)


def _members(value: Any) -> Iterable[Any]:
    return value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()


def _is_nested(value: Any) -> bool:
    return isinstance(value, dict | list)
