"""The layout of the package: each module has a name of its own, and is short enough to read in one sitting."""

from __future__ import annotations

from collections import Counter

from support.deployment import ROOT

# The entry point of a function, of a command or of a stage's program; a port; one HTTP dialect beside another.
SHARED_NAMES = {"__init__", "__main__", "main", "program", "ports", "routes", "answers"}
MAX_LINES = 300


def test_no_two_modules_have_the_same_name() -> None:
    names = Counter(path.stem for path in (ROOT / "functions").rglob("*.py"))
    assert {name for name, count in names.items() if count > 1} <= SHARED_NAMES


def test_no_module_is_longer_than_300_lines() -> None:
    modules = [path for folder in ("functions", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py")]
    lines = {path: path.read_text().count("\n") for path in modules if path.parent.name != "versions"}
    assert {path: count for path, count in lines.items() if count > MAX_LINES} == {}
