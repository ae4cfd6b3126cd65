"""The review room on a real platform, as `make demo-review` shows it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "review" / "demo"

pytestmark = pytest.mark.xdist_group("e2e")


def test_two_of_three_held_files_are_released_by_a_checkers_signature(tmp_path: Path) -> None:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    ran = subprocess.run([DEMO], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    held, _, released = ran.stdout.partition("5. The consumer gets the two files.")
    assert "Filtering results" in held
    assert "387 marks, more than 100" in held
    assert "state released, approvals 1 of 1" in held
    assert {"statistics.csv", "statistics.json"} <= set(released.split())
    assert "penguins.svg" not in released
    assert "states this bag and each of its 2 released files" in released
    kept = {path.name for path in (tmp_path / "out/review").iterdir()}
    assert kept == {"results", "run.zip", "run.intoto.jsonl", "run.proof.json", "holder.pem"}
