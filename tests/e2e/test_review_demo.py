"""The review room on a real platform, as `make demo-review` shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "review" / "demo"

pytestmark = pytest.mark.xdist_group("e2e")


def test_two_of_three_held_files_are_released_by_a_checkers_signature() -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    ran = subprocess.run([DEMO], env={**os.environ, "PATH": path}, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    held, _, released = ran.stdout.partition("5. The consumer gets the two files.")
    assert "Filtering results" in held
    assert "387 marks, more than 100" in held
    assert "state released, approvals 1 of 1" in held
    assert {"statistics.csv", "statistics.json"} <= set(released.split())
    assert "penguins.svg" not in released
