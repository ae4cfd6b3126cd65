"""Runs every rule over every file that wants to leave, and writes down what was found.

A rule that raises counts as a finding that blocks: a file that cannot be judged stays in.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from functions.staging.check import containers, file_rules, kinds, pictures, table_rules
from functions.staging.check.copies import Comparison, input_rows
from functions.staging.check.output_files import OutputFile
from functions.staging.check.tables import NotATable, Table, read_tables
from functions.trust.disclosure import Checks, Level
from functions.trust.findings import CheckedFile, Finding, verdict_of

logger = logging.getLogger(__name__)
Rule = Callable[[], Iterable[str]]
MOST_FINDINGS = 20  # of one rule in one file


@dataclass(frozen=True)
class Checked:
    """The files with their findings, and notes about what could not be looked at whole."""

    files: tuple[CheckedFile, ...]
    notes: tuple[str, ...]


def check(outputs: Sequence[OutputFile], inputs: Iterable[OutputFile], checks: Checks) -> Checked:
    """Judge each output. No file, however hostile, makes it raise an error."""
    tables = {file.path: _tables(file) for file in outputs}
    comparison = Comparison(tables.items(), checks)
    unread = _compare(comparison, inputs)
    crowded = file_rules.sizes(outputs, checks.size)
    files = []
    for file in outputs:
        rules = {**_file_rules(file, checks), **_table_rules(file.path, tables[file.path], comparison, checks)}
        findings = [finding for name, rule in rules.items() for finding in _run(name, rule, checks)]
        if (text := crowded.get(file.path)) and checks.size.level is not Level.OFF:
            findings.append(Finding("size", checks.size.level, text))
        kind = kinds.kind_of(file)
        files.append(CheckedFile(file.path, file.sha256, file.size, kind, verdict_of(findings), tuple(findings)))
    return Checked(tuple(files), (*unread, *comparison.notes))


def _file_rules(file: OutputFile, checks: Checks) -> dict[str, Rule]:
    return {
        "type": lambda: kinds.types(file, checks.type),
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
            yield Finding(name, level, text)
    except Exception as e:
        logger.warning("the rule %s cannot judge a file: %s", name, type(e).__name__)
        why = str(e) if isinstance(e, ValueError) else type(e).__name__
        yield Finding(name, Level.BLOCK, f"the rule cannot judge this file: {why}")


def _tables(file: OutputFile) -> list[Table]:
    """The tables of an output. A file that is not a table is the type rule's finding."""
    try:
        return read_tables(file)
    except Exception as e:
        logger.info("no tables in a file: %s", type(e).__name__)
        return []


def _compare(comparison: Comparison, inputs: Iterable[OutputFile]) -> list[str]:
    """Compare all inputs. Returns notes about those that could not be read as tables."""
    notes: list[str] = []
    for file in () if comparison.is_empty else inputs:
        try:
            for name, rows, header in input_rows(file):
                comparison.read_input(name, rows, header)
        except NotATable as e:
            notes.append(f"{file.path}: {e}")
        except Exception as e:
            notes.append(f"{file.path}: it could not be compared ({type(e).__name__})")
    comparison.finish()
    return notes
