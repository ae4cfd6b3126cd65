"""Runs every rule over every output file, and writes the report.

A rule that raises is a finding that blocks: a file that cannot be judged is not released.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from msgspec import Struct, structs

from functions.staging.check import containers, file_rules, kinds, pictures, table_rules
from functions.staging.check.copies import Comparison, input_rows
from functions.staging.check.output_files import OutputFile
from functions.staging.check.shapes import MOST_CELLS, other_shapes
from functions.staging.check.tables import KEPT, NotATable, Table, read_tables
from functions.trust.disclosure import Checks, Level
from functions.trust.findings import CheckedFile, Finding, verdict_of

logger = logging.getLogger(__name__)
Rule = Callable[[], Iterable[str]]
MOST_FINDINGS = 20  # of one rule in one file
KEPT_OF_ALL = 2 * KEPT  # bytes, about, of the tables of all files
LONGEST_TEXT = 300  # characters of a finding
MOST_TEXT = 2 << 20  # characters of all findings; the checker and every function that reads the report hold them


class Checked(Struct, frozen=True):
    """The files with their findings, and notes about what could not be looked at whole."""

    files: tuple[CheckedFile, ...]
    notes: tuple[str, ...]


class _Parsed(Struct, frozen=True):
    tables: list[Table]
    problem: str = ""  # why the file is not what its ending says; an exception would keep the content


def check(outputs: Sequence[OutputFile], inputs: Iterable[OutputFile], checks: Checks) -> Checked:
    """Judge each output. No file, however hostile, makes it raise an error."""
    parsed, left = {}, KEPT_OF_ALL
    for file in outputs:
        parsed[file.path] = _parsed(file, min(KEPT, left))
        left = max(0, left - sum(table.size for table in parsed[file.path].tables))
    shapes, cut = _other_shapes(outputs, parsed)
    compared = ((file.path, [*parsed[file.path].tables, *shapes[file.path]]) for file in outputs)
    comparison = Comparison(compared, checks)
    levels = {checks.copies.level, checks.overlaps.level, checks.values.level}
    is_wanted = levels != {Level.OFF} and not comparison.is_empty
    unread = _compare(comparison, inputs if is_wanted else ())
    crowded = file_rules.sizes(outputs, checks.size)
    files, spent = [], 0
    for file in outputs:
        rules = _file_rules(file, parsed[file.path], checks)
        rules |= _table_rules(file.path, parsed[file.path].tables, comparison, checks)
        findings = [finding for name, rule in rules.items() for finding in _run(name, rule, checks)]
        if (text := crowded.get(file.path)) and checks.size.level is not Level.OFF:
            findings.append(Finding("size", checks.size.level, text))
        kind = kinds.kind_of(file)
        shown = findings if spent < MOST_TEXT else [structs.replace(finding, text="") for finding in findings]
        spent += sum(len(finding.text) for finding in findings)
        files.append(CheckedFile(file.path, file.sha256, file.size, kind, verdict_of(findings), tuple(shown)))
    return Checked(tuple(files), (*unread, *cut, *comparison.notes))


def _file_rules(file: OutputFile, parsed: _Parsed, checks: Checks) -> dict[str, Rule]:
    return {
        "type": lambda: kinds.types(file, checks.type, parsed.problem),
        "size": lambda: file_rules.size(file, checks.size),
        "names": lambda: file_rules.names(file, checks.names),
        "density": lambda: file_rules.density(file, checks.density),
        "text": lambda: file_rules.text(file, checks.text),
        "marks": lambda: pictures.marks(file, checks.marks),
        "metadata": lambda: pictures.metadata(file),
        "active": lambda: pictures.active(file),
        "models": lambda: containers.models(file, checks.models),
        "notebooks": lambda: containers.notebooks(file),
        "archives": lambda: containers.archives(file, checks.archives),
    }


def _table_rules(path: str, tables: Sequence[Table], comparison: Comparison, checks: Checks) -> dict[str, Rule]:
    return {
        "rows": lambda: table_rules.rows(tables, checks.rows),
        "columns": lambda: table_rules.columns(tables, checks.columns),
        "cells": lambda: table_rules.cells(tables, checks.cells),
        "extremes": lambda: table_rules.extremes(tables, checks.extremes),
        "precision": lambda: table_rules.precision(tables, checks.precision),
        "copies": lambda: comparison.copies(path),
        "overlaps": lambda: comparison.overlaps(path),
        "values": lambda: comparison.values(path),
    }


def _run(name: str, rule: Rule, checks: Checks) -> Iterator[Finding]:
    level: Level = getattr(checks, name).level
    if level is Level.OFF:
        return
    count = 0
    try:
        for text in rule():
            count += 1
            if count > MOST_FINDINGS:
                yield Finding(name, level, "and more")
                return
            yield Finding(name, level, _shortened(text))
    except Exception as e:
        logger.warning("the rule %s cannot judge a file: %s", name, type(e).__name__)
        why = str(e) if isinstance(e, ValueError) else type(e).__name__
        yield Finding(name, Level.BLOCK, _shortened(f"the rule cannot judge this file: {why}"))


def _shortened(text: str) -> str:
    """A text that a report can hold: names and cells of a hostile file may have any length and any characters."""
    plain = text.encode(errors="backslashreplace").decode()
    return plain if len(plain) <= LONGEST_TEXT else f"{plain[:LONGEST_TEXT]}…"


def _parsed(file: OutputFile, keep: int) -> _Parsed:
    """The tables of an output, read once for all rules. Why there are none is the type rule's finding."""
    try:
        return _Parsed(read_tables(file, keep))
    except Exception as e:
        logger.info("no tables in a file: %s", type(e).__name__)
        return _Parsed([], (str(e) if isinstance(e, ValueError) else "") or type(e).__name__)


def _other_shapes(
    outputs: Sequence[OutputFile], parsed: Mapping[str, _Parsed]
) -> tuple[dict[str, list[Table]], list[str]]:
    """Further tables of each file to compare, and a note if there are more than are compared.

    The rule about types judges a file that cannot be read.
    """
    found: dict[str, list[Table]] = {file.path: [] for file in outputs}
    left = MOST_CELLS
    notes: list[str] = []
    for file in outputs:
        try:
            found[file.path] = list(other_shapes(file, parsed[file.path].tables, left))
        except OSError:
            continue
        left -= sum(len(row) for table in found[file.path] for row in table.rows)
        if not notes and not all(table.whole for table in found[file.path]):
            shapes = "lines, split cells, arrays and transposed tables"
            notes.append(f"{file.path}: from this file on, only a part of the {shapes} was compared")
    return found, notes


def _compare(comparison: Comparison, inputs: Iterable[OutputFile]) -> list[str]:
    """Compare all inputs. Returns notes about those that could not be read as tables."""
    notes: list[str] = []
    for file in inputs:
        try:
            for name, rows, header in input_rows(file):
                comparison.read_input(name, rows, header)
        except NotATable as e:
            notes.append(f"{file.path}: {e}")
        except Exception as e:
            notes.append(f"{file.path}: it could not be compared ({type(e).__name__})")
    comparison.finish()
    return notes
