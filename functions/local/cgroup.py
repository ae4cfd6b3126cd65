"""A control group of the kernel that holds one stage within its memory, where this user may make one.

It also counts what /proc does not show: files in memory that no process has open, pipes, kernel memory. Only the
standard library.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

_MOUNT = Path("/sys/fs/cgroup")
_PREFIX = "sluice-"
MAX_PROCESSES = 4096


class Cgroup:
    """A group for the processes of one stage. Version 2 of the kernel's interface, or version 1."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def create(cls, memory: int) -> Cgroup | None:
        """Make a group of at most `memory` bytes, swap included. Returns None where that is not possible."""
        for parent in _parents():
            path = parent / f"{_PREFIX}{os.getpid()}"
            try:
                path.mkdir()
            except OSError:
                continue
            if _limit(path, memory):
                return cls(path)
            path.rmdir()
        return None

    def join(self) -> None:
        """Move this process into the group; its children are in it too."""
        with suppress(OSError):  # without a group the supervisor still measures the memory itself
            (self.path / "cgroup.procs").write_text("0")

    def out_of_memory(self) -> bool:
        """Whether the kernel has killed a process of the group."""
        for name in ("memory.events", "memory.oom_control"):
            with suppress(OSError):
                fields = dict(line.split() for line in (self.path / name).read_text().splitlines())
                return int(fields.get("oom_kill", 0)) > 0
        return False

    def remove(self) -> None:
        """Remove the group once its processes have ended."""
        for _ in range(100):
            try:
                self.path.rmdir()
            except FileNotFoundError:
                return
            except OSError:
                time.sleep(0.01)  # the kernel still takes the last process down


def remove_stale() -> None:
    """Remove the empty groups of supervisors that were killed."""
    for parent in _parents():
        for path in parent.glob(f"{_PREFIX}*"):
            if not Path("/proc", path.name.removeprefix(_PREFIX)).exists():
                with suppress(OSError):  # it is not empty
                    path.rmdir()


def _parents() -> Iterator[Path]:
    """The groups in which this user may make one with a memory limit, the nearest first."""
    with suppress(OSError):
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if number == "0" and (_MOUNT / "cgroup.controllers").exists():
                yield from _delegated(_MOUNT / path.lstrip("/"))
            elif "memory" in controllers.split(","):
                group = _MOUNT / "memory" / path.lstrip("/")
                if os.access(group, os.W_OK):
                    yield group


def _delegated(own: Path) -> Iterator[Path]:
    """Version 2: the groups at or above `own` that limit the memory of their children."""
    for group in (own, *own.parents):
        if not group.is_relative_to(_MOUNT):
            return
        with suppress(OSError):
            limits_memory = "memory" in (group / "cgroup.subtree_control").read_text().split()
            if limits_memory and os.access(group, os.W_OK) and os.access(group / "cgroup.procs", os.W_OK):
                yield group


def _limit(path: Path, memory: int) -> bool:
    version_2 = (path / "memory.max").exists()
    try:
        (path / ("memory.max" if version_2 else "memory.limit_in_bytes")).write_text(str(memory))
    except OSError:
        return False
    settings = {"memory.memsw.limit_in_bytes": str(memory)}
    if version_2:
        settings = {"memory.swap.max": "0", "memory.oom.group": "1", "pids.max": str(MAX_PROCESSES)}
    for name, value in settings.items():
        with suppress(OSError):  # the kernel may not count swap, or processes
            (path / name).write_text(value)
    return True
