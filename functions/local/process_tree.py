"""The processes below this one, from /proc. Only the standard library: the supervisor imports it."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def descendants(pid: int | None = None) -> list[int]:
    """All processes below `pid` (below this one)."""
    found: list[int] = []
    todo = [pid or os.getpid()]
    while todo:
        children = _children(todo.pop())
        found += children
        todo += children
    return found


def signal_all(number: int) -> None:
    """Send a signal to every process below this one."""
    for pid in descendants():
        with suppress(ProcessLookupError):
            os.kill(pid, number)


def kill_all() -> None:
    """Kill every process below this one and wait until none is left; orphans are this process's children too."""
    while True:
        signal_all(signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def kill_strays(home: Path) -> None:
    """Kill what a killed supervisor left behind of a workflow, where no process namespace took it along.

    Told by the environment it was given: a user's own shell may well stand in that folder.
    """
    marks = [f"{name}={home}/".encode() for name in ("TMPDIR", "TERMINATION_LOG")]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(
                entry.startswith(mark) for entry in (process / "environ").read_bytes().split(b"\0") for mark in marks
            ):
                os.kill(int(process.name), signal.SIGKILL)


def memory(pids: list[int], enough: int) -> int:
    """Bytes of memory that `pids` use. Shared pages are told apart only where the quick sum is above `enough`."""
    quick = sum(_resident(pid) for pid in pids)
    return quick if quick <= enough or len(pids) == 1 else sum(_proportional(pid) for pid in pids)


def size(folder: str) -> int:
    """Bytes of the files below `folder`; links are not followed."""
    total = 0
    for path, _, files in os.walk(folder):
        for name in files:
            with suppress(OSError):
                total += os.lstat(os.path.join(path, name)).st_blocks * 512
    return total


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                children += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return children


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except (FileNotFoundError, ProcessLookupError):
        return 0


def _proportional(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            return next((int(line.split()[1]) * 1024 for line in file if line.startswith("Pss:")), 0)
    except OSError:
        return _resident(pid)
