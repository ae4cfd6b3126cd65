"""The processes below this one, from /proc. Only the standard library."""

from __future__ import annotations

import os
import signal
from contextlib import suppress
from pathlib import Path


def descendants(pid: int | None = None) -> list[int]:
    """All processes below `pid`, by default below this one."""
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
    """Kill every process below this one and wait for the end of all. Needs `linux.adopt_orphans`."""
    while True:
        signal_all(signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def kill_strays(home: Path) -> None:
    """Kill the processes that a killed supervisor left of a workflow, where no process namespace ended with it.

    They are recognised by their environment variables. The working directory proves nothing: it may be a user's shell.
    """
    marks = [f"{name}={home}/".encode() for name in ("TMPDIR", "TERMINATION_LOG")]
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if any(
                entry.startswith(mark) for entry in (process / "environ").read_bytes().split(b"\0") for mark in marks
            ):
                os.kill(int(process.name), signal.SIGKILL)


def _children(pid: int) -> list[int]:
    children: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{thread}/children") as file:
                children += map(int, file.read().split())
    except (FileNotFoundError, ProcessLookupError):
        pass
    return children
