"""What the operator's own commands say of a database that is away, is none, or lacks the job."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.fake_api import Sluice

from functions.engine.app import current_app

AWAY = "postgresql://user:secret-password@127.0.0.1:9/name"


@pytest.fixture(autouse=True)
def a_new_process() -> Iterator[None]:
    """`sluice sweep` keeps the parts that it was set up with for the rest of its process."""
    current_app.cache_clear()
    yield
    current_app.cache_clear()


@pytest.mark.parametrize("command", [["migrate"], ["forget", "j1", "--yes"], ["sweep"]])
def test_a_database_that_is_away_gives_exit_code_3_and_no_secret(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    monkeypatch.setenv("DATABASE_URL", AWAY)
    monkeypatch.setenv("SLUICE_CLUSTER", "memory")
    monkeypatch.setenv("RESULTS_URL", "file:///nowhere")
    ended = sluice(*command)
    assert ended.exit_code == 3, ended.output
    assert "database" in ended.stderr
    assert "secret-password" not in ended.output
    assert "Traceback" not in ended.output


@pytest.mark.parametrize("command", [["migrate"], ["forget", "j1", "--yes"], ["sweep"]])
def test_a_file_that_is_no_database_is_an_error_and_is_not_changed(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, command: list[str]
) -> None:
    (tmp_path / "file").write_text("not a database, but something of mine" * 100)
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'file'}")
    monkeypatch.setenv("SLUICE_CLUSTER", "memory")
    monkeypatch.setenv("RESULTS_URL", "file:///nowhere")
    ended = sluice(*command)
    assert ended.exit_code == 2, ended.output
    assert ended.stderr.startswith("Error: DATABASE_URL: ")
    assert (tmp_path / "file").read_text().startswith("not a database")


def test_what_a_migration_applied_is_printed_as_json(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'record.db'}")
    assert len(json.loads(sluice("migrate", "--json").stdout)) == 2
    assert json.loads(sluice("migrate", "--json").stdout) == []


def test_a_job_that_the_database_does_not_have_cannot_be_forgotten(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'record.db'}")
    assert sluice("migrate").exit_code == 0
    ended = sluice("forget", "j1\x1b[2J", "--yes")
    assert ended.exit_code == 2
    assert ended.stderr == "Error: the database has no job j1\\x1b[2J; perhaps it was forgotten already\n"


def test_nothing_is_forgotten_without_a_yes(sluice: Sluice, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", AWAY)
    ended = sluice("forget", "j1", input="n\n")
    assert ended.exit_code == 130
    assert "Delete the owner, the document and all else" in ended.output
