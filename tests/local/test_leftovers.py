"""What a killed `sluice run` leaves behind: no process, and no folder."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.laptop import command_line, document, pids, until

from functions.local.leftovers import remove_stale_run_folders, remove_tree

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.xdist_group("laptop")


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of temporary folders."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def run_folders(temporary: Path) -> list[Path]:
    return list(temporary.glob("sluice-run-*"))


@pytest.fixture
def running(temporary: Path, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A `sluice run` whose algorithm sleeps, and has left its process group."""
    seconds = 70_000 + os.getpid()
    code = f"setsid sleep {seconds} & exec sleep {seconds}"
    (tmp_path / "work.json").write_text(json.dumps(document(code)))
    command = [sys.executable, "-m", "functions.cli.main", "run", str(tmp_path / "work.json"), "--out", "out"]
    environ = {**os.environ, "TMPDIR": str(temporary), "PYTHONPATH": str(ROOT)}
    process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    until(lambda: len(sleepers(seconds)), lambda count: count == 2)
    yield process
    process.kill()
    process.wait()
    until(lambda: sleepers(seconds), lambda left: not left)


def sleepers(seconds: int) -> list[int]:
    return [pid for pid in pids() if command_line(pid) == b"sleep\0%d\0" % seconds]


def test_a_killed_run_leaves_no_process_and_no_folder(running: subprocess.Popen[bytes], temporary: Path) -> None:
    assert len(run_folders(temporary)) == 1
    os.kill(running.pid, signal.SIGKILL)
    running.wait()
    until(lambda: [pid for pid in pids() if str(temporary).encode() in command_line(pid)], lambda left: not left)
    until(lambda: run_folders(temporary), lambda left: not left)


def test_a_run_does_not_remove_the_folder_of_another_that_runs(
    running: subprocess.Popen[bytes], temporary: Path
) -> None:
    remove_stale_run_folders()
    assert len(run_folders(temporary)) == 1


def test_a_tree_is_removed_however_deep_it_is(tmp_path: Path) -> None:
    program = "import os\nfor n in range(3000): os.mkdir('d'); os.chdir('d')"
    (tmp_path / "deep").mkdir()
    subprocess.run([sys.executable, "-c", program], cwd=tmp_path / "deep", check=True)
    (tmp_path / "deep" / "closed").mkdir()
    (tmp_path / "deep" / "closed" / "file").touch()
    (tmp_path / "deep" / "closed").chmod(0)
    remove_tree(tmp_path / "deep")
    assert not (tmp_path / "deep").exists()


def test_the_next_run_removes_folders_of_killed_ones(temporary: Path) -> None:
    stale, fresh, unlocked = (temporary / f"sluice-run-{name}" for name in ("stale", "fresh", "starting"))
    for folder in (stale, fresh, unlocked):
        (folder / "cluster").mkdir(parents=True)
    (stale / "lock").write_text("4711")
    (stale / "cluster" / "closed").mkdir(mode=0)
    (unlocked / "lock").touch()
    remove_stale_run_folders()
    assert {path.name for path in run_folders(temporary)} == {fresh.name, unlocked.name}


def test_the_folder_of_a_run_that_holds_its_lock_stays(temporary: Path) -> None:
    folder = temporary / "sluice-run-held"
    folder.mkdir()
    with (folder / "lock").open("w") as lock:
        lock.write("4711")
        lock.flush()
        fcntl.flock(lock, fcntl.LOCK_EX)
        remove_stale_run_folders()
        assert folder.exists()
