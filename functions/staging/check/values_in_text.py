"""Finds the values that stand in one text: a line of a file, or a cell of a table. Pure.

All of these hold the values `Adelie`, `39.1` and `18.7`:

    Adelie,39.1,18.7        | Adelie | 39.1 | 18.7 |        Adelie#39.1#18.7        Adelie..39.1..18.7
    Row(species='Adelie', bill=39.1, depth=18.7)            ['Adelie', np.float64(39.1), 18.7]
"""

from __future__ import annotations

import re
from collections import Counter

LONGEST_PAIR = 1000  # characters of a line that holds a name and a value
_USUAL = str.maketrans(dict.fromkeys(",;|\t_/:~&", ","))  # what programs write between values
_MARK, _DOTS = re.compile(r"[^\w .]"), re.compile(r"\.{2,}")  # stand between values where none of the usual does
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_PAIR = re.compile(r"\s*[:=,;|\t]\s*|\s{2,}")  # between a name and its value
_DIGIT = re.compile(r"[0-9]")
_OPENING = "'\"[({"
_BEFORE = re.compile(r"""^[\s'"\[({]*([\w.]{1,99}\()?(\w{1,99}=)?[\s'"\[({]*""")  # before a value that a program prints
_AFTER = " \t\r\n'\"]}"


def values_in_line(line: str) -> list[str]:
    """Return the values between separators; or the words if half of them hold a digit, as in a printed table."""
    values = _usual_values(line)
    if len(values) >= 3:
        return values
    words = [bare for word in line.split() if (bare := _bare(word))]
    if 2 * sum(bool(_DIGIT.search(word)) for word in words) < len(words):
        words = []
    return words if len(words) >= 3 else _other_values(line) or words


def words_in_line(line: str) -> list[str]:
    """Return the words of a line, whether commas stand between them or not."""
    return [bare for word in line.replace(",", " ").split() if (bare := _bare(word))]


def values_in_cell(cell: str) -> list[str]:
    """Return the values of a cell of a table: one, unless separators stand in it."""
    values = _usual_values(cell)
    return values if len(values) >= 3 else _other_values(cell) or values


def name_and_value(line: str, number: int) -> tuple[str, str]:
    """Return the name and the value in a line. The name of a single word is the number of its line.

    Both are empty if the line is empty or has more values.
    """
    if len(line) > LONGEST_PAIR:
        return "", ""
    parts = _PAIR.split(line, maxsplit=2)
    if len(parts) == 1:
        words = line.split()
        parts = words if len(words) == 2 else [f"line {number}", *words]
    return (parts[0], _bare(parts[1])) if len(parts) == 2 else ("", "")


def _usual_values(text: str) -> list[str]:
    return [bare for part in text.translate(_USUAL).split(",") if (bare := _bare(part))]


def _other_values(text: str) -> list[str]:
    """The values between the mark that a text repeats most. Empty if there are fewer than three, or for a date."""
    marks = Counter(_MARK.findall(text))
    if ".." in text:
        marks.update(_DOTS.findall(text))
    most = max(marks, key=marks.__getitem__, default="")
    if marks[most] < 2 or _DATE.fullmatch(text.strip()):
        return []
    values = [bare for part in text.split(most) if (bare := _bare(part))]
    return values if len(values) >= 3 else []


def _bare(part: str) -> str:
    """A value without what a program prints around it: `'17'`, `[17]`, `mass=17`, `Row(mass=17)`, `np.int64(17)`."""
    bare = part.strip()
    if bare[:1] in _OPENING or "(" in bare or "=" in bare:
        bare = _BEFORE.sub("", bare)
    bare = bare.rstrip(_AFTER)
    return bare if "(" in bare else bare.rstrip(_AFTER + ")")
