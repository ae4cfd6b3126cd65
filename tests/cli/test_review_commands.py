"""What the commands of checkers and operators say after they have changed something."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.review import KEYS

from functions.cli.api_client import Client
from functions.cli.main import main

FILES = [{"path": "outputs/a.csv", "sha256": "ab" * 32, "blocked": False}]
HELD = {"jobId": "j1", "head": "cd" * 32, "files": FILES}


def answers(state: str, given: int) -> dict[str, Any]:
    return {
        "held_job": HELD,
        "decide": {"jobId": "j1", "state": state, "approvals": {"given": given, "needed": 2}},
        "freeze": {"scope": "all", "frozen": True},
        "unfreeze": {"scope": "all", "frozen": False},
        "revoke": {"jobId": "j1", "verdict": state},
        "release_again": {"jobId": "j1", "verdict": "applied"},
        "reject_as_operator": {"jobId": "j1", "verdict": "applied"},
    }


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Runs a command against a server that answers as told. Returns the exit code and stdout."""
    key = tmp_path / "key"
    key.write_text(KEYS[0])

    def run(command: str, state: str = "applied", given: int = 1) -> tuple[int, str]:
        for name, answer in answers(state, given).items():
            monkeypatch.setattr(Client, name, lambda *_, answer=answer: answer)
        ended = CliRunner().invoke(main, [*command.split(), "--key-file", str(key)])
        return ended.exit_code, ended.stdout

    return run


@pytest.mark.parametrize(
    ("command", "state", "given", "sentence"),
    [
        (
            "release j1 --reason r --yes",
            "pending",
            1,
            "Job j1 waits for further decisions: 1 of 2 approvals are given.",
        ),
        (
            "release j1 --reason r --yes",
            "released",
            2,
            "Job j1 is released, with 2 of 2 approvals: the files are being copied to its results.",
        ),
        ("reject j1 --yes", "rejected", 0, "Job j1 is rejected: nothing leaves."),
        ("reject j1 --as-operator", "", 0, "Job j1 is rejected: nothing leaves."),
        ("release j1 --again", "", 0, "The release of job j1 runs again."),
        (
            "freeze all",
            "",
            0,
            "Frozen: all. Nothing of it is published, released or downloaded until `sluice unfreeze all`.",
        ),
        ("unfreeze all", "", 0, "No longer frozen: all. What waited goes on within about a minute."),
        ("revoke j1", "applied", 0, "The results of job j1 are being removed; downloads answer 410."),
        ("revoke j1", "duplicate", 0, "The results of job j1 were removed before; downloads answer 410."),
    ],
)
def test_a_command_says_in_a_sentence_what_it_did(
    said: Any, command: str, state: str, given: int, sentence: str
) -> None:
    assert said(command, state, given) == (0, f"{sentence}\n")


def test_a_command_prints_the_servers_answer_as_json(said: Any) -> None:
    code, printed = said("freeze all --json")
    assert (code, json.loads(printed)) == (0, {"scope": "all", "frozen": True})


def test_a_release_that_failed_is_shown_with_its_reason(said: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    waits = {
        "jobId": "j1",
        "environment": "e",
        "policy": ["p"],
        "until": "2026-12-01",
        "findings": 0,
        "verdict": "pass",
        "approvals": {"given": 1, "needed": 1},
        "releaseFailed": {"reason": "OutputRefused", "at": "2026-11-27"},
    }
    monkeypatch.setattr(Client, "held", lambda _: {"held": [waits], "undelivered": []})
    code, printed = said("held")
    assert (code, " ".join(printed.split()[-14:])) == (
        0,
        "release of j1 failed at 2026-11-27: OutputRefused; `sluice release j1 --again` tries once more",
    )


def test_a_release_needs_a_reason(said: Any) -> None:
    assert said("release j1 --yes") == (2, "")
