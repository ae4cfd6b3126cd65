"""The script that runs an executor of a task: argv, streams and the exit code are exact."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from functions.cluster.kubernetes.scripts import script

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}


@dataclass
class Ended:
    code: int
    stdout: bytes  # the container's log
    stderr: bytes
    kept: dict[str, bytes]


@pytest.fixture(
    params=[pytest.param(s, marks=pytest.mark.skipif(not shutil.which(s), reason=f"no {s}")) for s in SHELLS]
)
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., Ended]:
    def run(*argv: str, stdin: str = "", stdout: str = "", stderr: str = "", cap: int = 1000) -> Ended:
        kept = tmp_path / "kept"
        kept.mkdir()
        command = [*SHELLS[request.param], "-c", script("executor.sh"), "executor", str(kept), str(cap)]
        ended = subprocess.run(
            [*command, stdin, stdout, stderr, *argv],
            env={"PATH": os.environ["PATH"], "X": "y"},
            capture_output=True,
            timeout=60,
            check=False,
        )
        files = {path.name: path.read_bytes() for path in kept.iterdir()}
        return Ended(ended.returncode, ended.stdout, ended.stderr, files)

    return run


def test_the_arguments_reach_the_program_as_they_are(run: Callable[..., Ended]) -> None:
    words = ["a  b", "$X", "$(date)", "`date`", "'", '"', "*", "\\", "", "ü\n"]
    ended = run("printf", "[%s]", *words)
    assert ended.stdout == "".join(f"[{word}]" for word in words).encode()


def test_a_program_of_the_image_runs_and_not_the_shells_own_command(run: Callable[..., Ended]) -> None:
    assert run("echo", "a\\nb").stdout == b"a\\nb\n"


def test_both_streams_are_kept_shown_and_written_whole_to_the_files_of_the_task(
    run: Callable[..., Ended], tmp_path: Path
) -> None:
    out, err = tmp_path / "out", tmp_path / "err"
    ended = run("sh", "-c", "printf 123456; printf error >&2", stdout=str(out), stderr=str(err), cap=4)
    assert (ended.stdout, ended.stderr) == (b"123456", b"error")
    assert ended.kept == {"stdout": b"1234", "stderr": b"erro"}
    assert (out.read_bytes(), err.read_bytes()) == (b"123456", b"error")


def test_stdin_is_the_file_of_the_task_or_empty(run: Callable[..., Ended], tmp_path: Path) -> None:
    (tmp_path / "in").write_text("from a file")
    assert run("cat", stdin=str(tmp_path / "in")).stdout == b"from a file"


def test_without_a_file_stdin_is_empty(run: Callable[..., Ended]) -> None:
    assert run("cat").stdout == b""


@pytest.mark.parametrize(
    ("argv", "code"),
    [(["sh", "-c", "exit 7"], 7), (["no-such-program"], 127), (["/"], 126), (["sh", "-c", "kill -9 $$"], 137)],
)
def test_the_exit_code_is_the_programs_own(run: Callable[..., Ended], argv: list[str], code: int) -> None:
    assert run(*argv).code == code


def test_a_missing_file_for_stdin_fails_the_executor(run: Callable[..., Ended], tmp_path: Path) -> None:
    assert run("cat", stdin=str(tmp_path / "nowhere")).code not in (0, 127)
