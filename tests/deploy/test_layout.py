"""The layout of the package: each module has a name of its own, and fits on a few screens."""

from __future__ import annotations

from collections import Counter

from support.deployment import ROOT

# The entry point of a function, of a command or of a stage's program; a port; one HTTP dialect beside another.
SHARED_NAMES = {"__init__", "__main__", "main", "program", "ports", "routes", "answers"}


def test_no_two_modules_have_the_same_name() -> None:
    names = Counter(path.stem for path in (ROOT / "functions").rglob("*.py"))
    assert {name for name, count in names.items() if count > 1} <= SHARED_NAMES
