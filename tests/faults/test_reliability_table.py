"""docs/reliability.md names a test for each fault and invariant, and each of these tests exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
DOCUMENT = (TESTS.parent / "docs" / "reliability.md").read_text()
NAMED = sorted(set(re.findall(r"`([\w/]+\.py)::(\w+)`", DOCUMENT)))
ROWS = {row.split("|")[1].strip(): row for row in DOCUMENT.splitlines() if re.match(r"\| [FI]\d", row)}


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize(("path", "name"), NAMED)
def test_a_named_test_exists(path: str, name: str) -> None:
    assert name in names_in(path)


@pytest.mark.parametrize("number", [*(f"F{n}" for n in range(1, 42)), *(f"I{n}" for n in range(1, 10))])
def test_each_fault_and_each_invariant_names_a_test(number: str) -> None:
    assert re.search(r"`[\w/]+\.py::\w+`", ROWS[number])
