"""`sluice run` and `sluice tes run` end when results are held: nobody could decide before their server is gone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKER = "0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a"
POLICY = {
    "id": "penguins",
    "data": ["did:op:penguins-2007", (ROOT / "examples").as_uri() + "/"],
    "hold": "always",
    "checkers": [{"name": "checker", "address": CHECKER}],
}


@pytest.mark.parametrize(
    "command", [["run", "examples/penguins/workflow.json"], ["tes", "run", "examples/tes/task.json"]]
)
@pytest.mark.parametrize(
    ("options", "remedy"),
    [([], "they are removed now; to decide about them, submit to `sluice up` instead"), (["--dir", "kept"], "kept")],
)
def test_a_run_whose_results_are_held_ends_and_says_who_can_decide(
    command: list[str], options: list[str], remedy: str, tmp_path: Path
) -> None:
    (tmp_path / "policies.yaml").write_text(json.dumps([POLICY]))  # JSON is YAML
    *words, example = command
    ended = subprocess.run(
        [sys.executable, "-m", "functions.cli.main", *words, str(ROOT / example), *options],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "POLICIES_FILE": str(tmp_path / "policies.yaml")},
        capture_output=True,
        text=True,
        timeout=60,
    )
    message = f"start `sluice up --dir {remedy}`, and decide there" if options else remedy
    assert ended.returncode == 1
    assert ended.stderr == f"Error: the results are held until a checker has decided (docs/trust.md); {message}\n"
    assert not list(tmp_path.glob("out/**/*.csv"))
