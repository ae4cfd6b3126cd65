"""The streams of an executor: files that a task names, and what an earlier executor may have put there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from functions.local.streams import Streams


def streams(folder: Path, **named: str) -> Streams:
    logs, root = folder / "logs", folder / "root"
    logs.mkdir(exist_ok=True)
    (root / "work").mkdir(parents=True, exist_ok=True)
    files = {name: named.get(name, "") for name in ("stdin", "stdout", "stderr")}
    spec: dict[str, Any] = {"command": ["tool"], "log_bytes": 100}
    return Streams({**spec, "streams": {**files, "logs": str(logs), "root": str(root), "user": None}})


def printed(made: Streams, text: bytes) -> None:
    """What a program prints on stdout, until it ends."""
    connected = made.connect()
    os.write(connected[1], text)
    made.close_writers(connected)
    made.drain()


def test_a_stream_goes_whole_into_its_file_and_cut_into_its_log(tmp_path: Path) -> None:
    (tmp_path / "root/work").mkdir(parents=True)
    (tmp_path / "root/work/out").write_bytes(b"y" * 900)  # of an earlier executor
    printed(streams(tmp_path, stdout="/work/out"), b"x" * 500)
    assert (tmp_path / "root/work/out").read_bytes() == b"x" * 500
    assert (tmp_path / "logs/stdout").read_bytes().startswith(b"x" * 100 + b"\n")


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _second_name(path: Path) -> None:
    (path.parent / "first").write_text("kept")
    os.link(path.parent / "first", path)


def _link(path: Path) -> None:
    path.symlink_to("/etc/passwd")


@pytest.mark.parametrize("put", [_pipe, _second_name, _link, Path.mkdir])
@pytest.mark.parametrize("name", ["stdin", "stdout", "stderr"])
def test_a_stream_never_uses_what_is_not_a_file_of_its_own(
    tmp_path: Path, put: Callable[[Path], None], name: str
) -> None:
    (tmp_path / "root/work").mkdir(parents=True)
    put(tmp_path / "root/work/file")
    made = streams(tmp_path, **{name: "/work/file"})
    assert made.refused.startswith("/work/file ")
    if put is _second_name:
        assert (tmp_path / "root/work/first").read_text() == "kept"


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (FileNotFoundError(2, "x"), ("tool: not found", 127)),
        (PermissionError(13, "denied"), ("the stage could not be started: [Errno 13] denied", 126)),
    ],
)
def test_a_program_that_cannot_be_started_ends_with_the_exit_code_of_a_shell(
    tmp_path: Path, error: OSError, told: tuple[str, int]
) -> None:
    assert streams(tmp_path).failure(error) == told
