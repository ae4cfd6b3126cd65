"""The folder of results holds the results of one job: two jobs are not mixed, and other files are not touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.fake_api import FakeApi, Sluice, job

from functions.cli import results_folder
from functions.cli.command_errors import CommandError
from functions.cli.results_folder import RECORD


def save(folder: Path, job_id: str, *names: str, new: bool = False) -> None:
    """Save results as `sluice run` (`new`) or `sluice results` does."""
    with results_folder.claimed(folder, None if new else job_id):
        results_folder.begin(folder, job_id, (folder / name for name in names))
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(job_id)


def files(folder: Path) -> dict[str, str]:
    found = (path for path in folder.rglob("*") if path.is_file() and path.name != RECORD)
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def test_a_new_run_replaces_the_results_of_an_earlier_one_and_nothing_else(tmp_path: Path) -> None:
    out = tmp_path / "out"
    save(out, "first", "a", "deep/er/b", "logs/algorithm.log", new=True)
    (out / "deep/er/b.part").write_text("broken off")
    (out / "notes").write_text("mine")
    save(out, "second", "a", "c", new=True)
    assert files(out) == {"a": "second", "c": "second", "notes": "mine"}
    assert not (out / "deep").exists()


def test_the_results_of_another_job_are_not_mixed_with_those_in_the_folder(tmp_path: Path) -> None:
    save(tmp_path / "out", "first", "a")
    save(tmp_path / "out", "first", "a", "b")  # the same job may go on
    with pytest.raises(CommandError, match="holds the results of job first"):
        save(tmp_path / "out", "second", "c")
    assert files(tmp_path / "out") == {"a": "first", "b": "first"}


def test_two_commands_cannot_save_into_a_folder_at_once(tmp_path: Path) -> None:
    with (
        results_folder.claimed(tmp_path / "out"),
        pytest.raises(CommandError, match="another command saves results"),
        results_folder.claimed(tmp_path / "out"),
    ):
        pass
    with results_folder.claimed(tmp_path / "out"):
        pass


def test_a_command_that_saves_nothing_leaves_no_folder_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for name in ("new", "mine"):
        with pytest.raises(KeyboardInterrupt), results_folder.claimed(tmp_path / name):
            raise KeyboardInterrupt
    assert [each.name for each in tmp_path.iterdir()] == ["mine"]


@pytest.mark.parametrize("new", [True, False])
def test_a_folder_with_other_files_is_refused(tmp_path: Path, new: bool) -> None:
    (tmp_path / "thesis.tex").write_text("mine")
    with pytest.raises(CommandError, match="is not empty"):
        save(tmp_path, "first", "a", new=new)
    assert files(tmp_path) == {"thesis.tex": "mine"}


@pytest.mark.parametrize("name", ["../secret", "/secret", "link/secret", "a/../../secret"])
def test_a_record_cannot_have_files_outside_the_folder_removed(tmp_path: Path, name: str) -> None:
    out, secret = tmp_path / "out", tmp_path / "secret"
    out.mkdir()
    secret.write_text("mine")
    (out / "link").symlink_to(tmp_path)
    named = str(secret) if name.startswith("/") else name
    (out / RECORD).write_text(json.dumps({"job": "first", "files": [named]}))
    with pytest.raises(CommandError, match="outside the folder"):
        save(out, "second", "a", new=True)
    assert secret.read_text() == "mine"


@pytest.mark.parametrize("content", ["", "[]", '{"job": 1}', "\udcff"])
def test_a_damaged_record_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / RECORD).write_bytes(content.encode(errors="surrogateescape"))
    with pytest.raises(CommandError, match="is damaged"):
        save(tmp_path, "first", "a", new=True)


def test_results_of_another_job_are_refused_before_anything_is_downloaded(
    sluice: Sluice, api: FakeApi, tmp_path: Path
) -> None:
    api.publish(("a", b"1"))
    assert sluice("results", "job1", "--out", "out", "--url", api.url).exit_code == 0
    listed = [{"filename": "a", "filesize": 1, "type": "output"}]
    api.put("GET", "/compute", [job("job2", results=listed)])
    before = len(api.of("/getResult"))
    ended = sluice("results", "job2", "--out", "out", "--url", api.url)
    assert (ended.exit_code, "holds the results of job job1" in ended.stderr) == (2, True), ended.output
    assert len(api.of("/getResult")) == before
