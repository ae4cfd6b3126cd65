"""The settings of the disclosure checks, rule by rule, and the stricter one of two settings.

Each rule has a `level`: what a finding of it means for the file. `off` switches the rule off, `review` asks for a
person's eye, `block` keeps the file in.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Annotated, Any

from msgspec import Meta, Struct, structs

MIB = 1 << 20
TYPES = (".csv", ".json", ".md", ".png", ".tsv", ".txt")
IDENTIFIERS = (
    "address", "birthdate", "date_of_birth", "dateofbirth", "dob", "email", "firstname", "forename", "id", "identifier",
    "iban", "insurance_number", "lastname", "mrn", "name", "national_id", "nhs_number", "passport", "patient",
    "patient_id", "person_id", "phone", "postcode", "record_id", "ssn", "subject_id", "surname", "zip", "zipcode",
)  # fmt: skip
Positive = Annotated[int, Meta(ge=1)]
Natural = Annotated[int, Meta(ge=0)]
Percent = Annotated[int, Meta(ge=0, le=100)]


class Level(StrEnum):
    """The weight of a finding, from the loosest to the strictest."""

    OFF = "off"
    REVIEW = "review"
    BLOCK = "block"


class _Rule(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    level: Level = Level.BLOCK


class Types(_Rule, frozen=True):
    """The extension, the magic bytes and a full parse agree, and the extension is one of `allow`."""

    allow: tuple[str, ...] = TYPES


class Size(_Rule, frozen=True):
    """Bytes of one file, bytes of all files, and how many files there are."""

    max_file_bytes: Positive = 16 * MIB
    max_total_bytes: Positive = 64 * MIB
    max_files: Positive = 50


class Rows(_Rule, frozen=True):
    """A table is not longer than `max` rows."""

    max: Positive = 5000


class Columns(_Rule, frozen=True):
    """No column has the name of an identifier, of this list or of the built-in one."""

    identifiers: tuple[str, ...] = ()


class Cells(_Rule, frozen=True):
    """No count is above 0 and below `threshold`; `zeros` counts 0 as small too. `columns`: further names of counts."""

    level: Level = Level.REVIEW
    threshold: Natural = 10
    zeros: bool = False
    columns: tuple[str, ...] = ()


class Extremes(_Rule, frozen=True):
    """No column holds one individual's value: min, max, first, last, mode."""

    level: Level = Level.REVIEW


class Copies(_Rule, frozen=True):
    """No output row is an input row, and no rows share more cells with one input row each than coincidence explains."""


class Overlaps(_Rule, frozen=True):
    """No rows share three or more cells with one input row each, unless chance explains it."""

    level: Level = Level.REVIEW


class Values(_Rule, frozen=True):
    """Of an output column's distinct values, less than `share` percent stand in a nearly unique input column."""

    distinct: Positive = 20
    share: Percent = 50


class Marks(_Rule, frozen=True):
    """A drawing has at most `max` circles, paths, rectangles, polygons and uses."""

    level: Level = Level.REVIEW
    max: Natural = 100


class Precision(_Rule, frozen=True):
    """No number has more than `digits` significant digits."""

    level: Level = Level.REVIEW
    digits: Positive = 6


class Density(_Rule, frozen=True):
    """A file has at most `entropy` percent of 8 bits a byte, and compresses to at most `ratio` percent of its size."""

    level: Level = Level.REVIEW
    entropy: Percent = 90
    ratio: Percent = 90


class Metadata(_Rule, frozen=True):
    """A picture or a document carries no comments, no EXIF data, and no bytes after its end."""


class Models(_Rule, frozen=True):
    """No file is a serialised model or object, unless the policy names it in `allow`."""

    allow: tuple[str, ...] = ()


class Notebooks(_Rule, frozen=True):
    """A notebook has no outputs, attachments or execution counts."""


class Archives(_Rule, frozen=True):
    """No archive: they are opened `depth` deep, up to `ratio` times their size, and reported."""

    depth: Positive = 2
    ratio: Positive = 100


class Active(_Rule, frozen=True):
    """No script, foreign object or external reference in SVG and HTML."""


class Names(_Rule, frozen=True):
    """A file's name is one of `allow`, where given; else plain characters, at most `depth` folders deep."""

    allow: tuple[str, ...] | None = None
    depth: Positive = 3


class Text(_Rule, frozen=True):
    """No line is longer than `max_line` bytes, and at most `digits` percent of the bytes are digits."""

    level: Level = Level.REVIEW
    max_line: Positive = 500
    digits: Percent = 50


class Checks(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, rename="camel"):
    """The settings of all rules; a policy that says `checks: {}` takes these."""

    type: Types = Types()
    size: Size = Size()
    rows: Rows = Rows()
    columns: Columns = Columns()
    cells: Cells = Cells()
    extremes: Extremes = Extremes()
    copies: Copies = Copies()
    overlaps: Overlaps = Overlaps()
    values: Values = Values()
    marks: Marks = Marks()
    precision: Precision = Precision()
    density: Density = Density()
    metadata: Metadata = Metadata()
    models: Models = Models()
    notebooks: Notebooks = Notebooks()
    archives: Archives = Archives()
    active: Active = Active()
    names: Names = Names()
    text: Text = Text()


def merge(one: Checks | None, other: Checks | None) -> Checks | None:
    """Return the stricter of both, setting by setting. None means that nothing is checked."""
    if one is None or other is None:
        return one or other
    rules: dict[str, Any] = {
        field: _stricter_rule(getattr(one, field), getattr(other, field)) for field in Checks.__struct_fields__
    }
    return Checks(**rules)


def _stricter_rule(one: _Rule, other: _Rule) -> _Rule:
    if Level.OFF in (one.level, other.level) and one.level is not other.level:
        return one if other.level is Level.OFF else other  # the settings of a rule that is off mean nothing
    fields = {name: _STRICTER[name](getattr(one, name), getattr(other, name)) for name in one.__struct_fields__}
    return structs.replace(one, **fields)


def _higher_level(one: Level, other: Level) -> Level:
    order = list(Level)
    return max(one, other, key=order.index)


def _common(one: tuple[str, ...] | None, other: tuple[str, ...] | None) -> tuple[str, ...] | None:
    """The names that both allow; None allows everything."""
    if one is None or other is None:
        return _sorted(other if one is None else one)
    return _sorted(set(one) & set(other))


def _either(one: tuple[str, ...], other: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(sorted({*one, *other}))


def _sorted(names: Any) -> tuple[str, ...] | None:
    return None if names is None else tuple(sorted(names))


_STRICTER: Mapping[str, Callable[[Any, Any], Any]] = {
    "level": _higher_level,
    "allow": _common,
    "identifiers": _either,
    "columns": _either,
    "zeros": max,
    "threshold": max,
    "max_file_bytes": min,
    "max_total_bytes": min,
    "max_files": min,
    "max_line": min,
    "max": min,
    "distinct": min,
    "share": min,
    "digits": min,
    "entropy": min,
    "ratio": min,
    "depth": min,
}
