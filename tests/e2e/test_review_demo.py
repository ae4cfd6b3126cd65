"""A review on a real platform, as `make demo-review` shows it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DEMO = Path(__file__).parents[2] / "examples" / "review" / "demo"

pytestmark = pytest.mark.xdist_group("e2e")


TOOLS = ("env", "bash", "dirname", "mktemp", "seq", "grep", "head", "sleep", "mkdir", "rm")


def show(folder: Path, path: str) -> tuple[str, set[str]]:
    """Run the demo in a folder with the programs of `path`. Returns what it printed, and the files that it kept."""
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{path}"}
    ran = subprocess.run([DEMO], cwd=folder, env=environment, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout, {path.name for path in (folder / "out/review").iterdir()}


def test_two_of_three_held_files_are_released_by_a_checkers_signature(tmp_path: Path) -> None:
    printed, kept = show(tmp_path, os.environ["PATH"])
    held, _, released = printed.partition("5. The consumer gets the two files.")
    assert "Filtering results" in held
    assert "387 marks, more than 100" in held
    assert "is released, with 1 of 1 approvals" in held
    assert {"statistics.csv", "statistics.json"} <= set(released.split())
    assert "penguins.svg" not in released
    assert "states this bag and each of its 2 released files" in released
    assert kept == {"results", "run.zip", "run.intoto.jsonl", "run.proof.json", "holder.pem"}


def test_without_openssl_the_demo_says_what_it_skips(tmp_path: Path) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found
        (tools / name).symlink_to(found)
    printed, kept = show(tmp_path, str(tools))
    assert "openssl is not installed" in printed
    assert "not checked  who signed this" in printed
    assert kept == {"results", "run.zip", "run.intoto.jsonl", "run.proof.json"}
