"""Pages of the documentation name tests as `file.py::test_name`; each of these tests exists."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGES = sorted((TESTS.parent / "docs").glob("*.md"))
NAMED = re.compile(r"`([\w/]+\.py)::(\w+)`")


@cache
def names_in(path: str) -> set[str]:
    tree = ast.parse((TESTS / path).read_text())
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_test_that_a_page_names_exists(page: Path) -> None:
    missing = [f"{path}::{name}" for path, name in NAMED.findall(page.read_text()) if name not in names_in(path)]
    assert missing == []


def test_each_promise_of_the_security_page_names_a_test() -> None:
    rows = [row for row in (TESTS.parent / "docs" / "security.md").read_text().splitlines() if row.startswith("| ")]
    promises = [row for row in rows if not row.startswith("| promise |")]
    assert promises
    assert [row for row in promises if not NAMED.search(row)] == []
