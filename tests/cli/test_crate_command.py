"""`sluice crate` asks as the operator, the owner or a checker, and leaves no half of a file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.fake_api import FakeApi, Sluice, job

REFUSED = (401, {"error": "not you"})
UNKNOWN = (404, {"error": "no such job"})
SAVED = (200, b"PK crate")


class Turns(dict[tuple[str, str], Any]):
    """Answers of a server. A list of answers is given one after the other."""

    def get(self, asked: tuple[str, str], default: Any = None) -> Any:
        found = super().get(asked, default)
        return found.pop(0) if isinstance(found, list) else found


@pytest.fixture
def ask(sluice: Sluice, api: FakeApi, key_file: Path) -> Any:
    """Runs `sluice crate job1` in an empty folder on a server that gives these answers for the crate."""
    api.answers = Turns()
    api.put("GET", "/compute", [job()])

    def run(*answers: tuple[int, Any], options: tuple[object, ...] = ()) -> Result:
        api.answers["GET", "/crate"] = list(answers)  # type: ignore[assignment]
        return sluice("crate", "job1", "--url", api.url, "--key-file", key_file, *options)

    return run


def left(folder: Path) -> list[str]:
    """The files that a command has left beside the key."""
    return sorted(path.name for path in folder.iterdir() if path.is_file() and path.name not in ("key", "admin"))


def test_the_owner_asks_again_with_a_signature(ask: Any, api: FakeApi, tmp_path: Path) -> None:
    ended = ask(REFUSED, SAVED)
    assert (ended.exit_code, ended.stdout) == (0, "crate: sluice-job1.zip\n")
    assert (tmp_path / "sluice-job1.zip").read_bytes() == b"PK crate"
    first, second = api.of("/crate")
    assert first.params == {"jobId": "job1"}
    assert second.params["owner"] == "0xOwner"
    assert {"nonce", "providerSignature"} <= second.params.keys()


@pytest.mark.parametrize("refusal", [REFUSED, UNKNOWN])
def test_a_checker_asks_last_for_the_edition_that_was_wanted(ask: Any, api: FakeApi, refusal: Any) -> None:
    ended = ask(REFUSED, refusal, SAVED, options=("--consumer",))
    assert ended.exit_code == 0, ended.output
    assert [asked.params["jobId"] for asked in api.of("/crate")] == ["job1"] * 3
    last = api.of("/crate")[-1]
    assert last.params == {"jobId": "job1", "edition": "consumer"}
    assert last.headers["Authorization"].startswith("Checker ")


def test_an_operator_asks_once(ask: Any, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "admin").write_text("secret")
    ended = ask(REFUSED, options=("--admin-file", tmp_path / "admin"))
    assert (ended.exit_code, ended.stderr) == (2, "Error: not you\n")
    (asked,) = api.of("/crate")
    assert asked.headers["Admin"] == "secret"


def test_a_token_is_sent_for_a_task(ask: Any, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "admin").write_text("token-alice\n")
    assert ask(SAVED, options=("--token-file", tmp_path / "admin")).exit_code == 0
    (asked,) = api.of("/crate")
    assert asked.headers["Authorization"] == "Bearer token-alice"


def test_a_crate_that_nobody_gives_leaves_no_file(ask: Any, tmp_path: Path) -> None:
    ended = ask(REFUSED, UNKNOWN, UNKNOWN)
    assert ended.exit_code == 2
    assert "/api/v1/operator/crate: no such job" in ended.stderr
    assert left(tmp_path) == []


def test_a_crate_that_cannot_be_written_is_a_failure_with_the_reason(ask: Any, tmp_path: Path) -> None:
    ended = ask(SAVED, options=("--out", tmp_path / "no" / "folder.zip"))
    assert (ended.exit_code, ended.stderr) == (
        1,
        f"Error: {tmp_path / 'no' / 'folder.zip'}: cannot be written (No such file or directory)\n",
    )


def test_a_proof_needs_the_statement_that_names_its_head(ask: Any, api: FakeApi, tmp_path: Path) -> None:
    ended = ask(SAVED, options=("--proof", tmp_path / "proof"))
    assert ended.exit_code == 2
    assert "--proof needs --attestation" in ended.stderr
    assert api.asked == []


def test_a_file_that_is_no_checkpoint_is_named_before_anything_is_asked(ask: Any, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "admin").write_bytes(b"\xff no checkpoint")
    options = ("--attestation", tmp_path / "a", "--proof", tmp_path / "p", "--checkpoint", tmp_path / "admin")
    ended = ask(SAVED, options=options)
    assert ended.exit_code == 2
    assert ended.stderr.startswith("Error: --checkpoint: ")
    assert api.asked == []


def test_saved_files_are_listed_as_json(ask: Any, tmp_path: Path) -> None:
    ended = ask(SAVED, options=("--json", "--out", tmp_path / "run.zip"))
    assert json.loads(ended.stdout) == {"crate": str(tmp_path / "run.zip")}
