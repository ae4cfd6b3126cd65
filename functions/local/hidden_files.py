"""Estimates the files that a program keeps where neither a folder nor a process shows them. Only the standard library.

An unlinked file, or one of `memfd_create`, exists as long as its descriptor waits in a socket, a part of it is mapped,
or a process that we may not examine has it open. Nobody can tell its size then, but the space is gone from the machine.
So while a stage hides files, all that has gone from the machine since the stage's start counts as its own.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import NamedTuple

from functions.local.usage import DISK, MEMORY, OpenFiles

# A file counts as hidden after so many checks in a row: programs that work together pass descriptors on at once.
_CHECKS = 4


class Gone(NamedTuple):
    """Bytes that have gone from the machine since the stage's start; zeros while the stage hides nothing."""

    disk: int = 0
    memory: int = 0


class HiddenFiles:
    """What one stage hides. `folder`: on the file system that the stage writes to."""

    def __init__(self, folder: str) -> None:
        self._folder = os.open(folder, os.O_PATH | os.O_CLOEXEC)  # without a sandbox, a program may remove it
        self._before = self._taken()
        self._checks = {DISK: 0, MEMORY: 0}  # in a row, for which the stage has hidden something

    def estimate(self, processes: Sequence[str], files: OpenFiles) -> Gone:
        """Estimate what the stage hides at most. `processes`: their folders in /proc."""
        hidden = {DISK, MEMORY} if any(map(_descriptors_on_their_way, processes)) else files.hidden
        self._checks = {kind: count + 1 if kind in hidden else 0 for kind, count in self._checks.items()}
        now = self._taken()
        return Gone(
            now.disk - self._before.disk if self._checks[DISK] >= _CHECKS else 0,
            now.memory - self._before.memory if self._checks[MEMORY] >= _CHECKS else 0,
        )

    def _taken(self) -> Gone:
        """Bytes that are in use on the file system, and by all files in memory."""
        status = os.fstatvfs(self._folder)
        return Gone((status.f_blocks - status.f_bfree) * status.f_frsize, _memory_of_files())


def _memory_of_files() -> int:
    with open("/proc/meminfo") as file:
        return next((int(line.split()[1]) * 1024 for line in file if line.startswith("Shmem:")), 0)


def _descriptors_on_their_way(process: str) -> bool:
    """Whether a socket of the process holds descriptors that nobody has received."""
    with suppress(OSError):
        for entry in os.scandir(f"{process}/fd"):
            with suppress(OSError):
                if os.readlink(entry.path).startswith("socket:") and _holds_descriptors(process, entry.name):
                    return True
    return False


def _holds_descriptors(process: str, name: str) -> bool:
    with open(f"{process}/fdinfo/{name}") as file:
        return any(line.startswith("scm_fds:") and int(line.split()[1]) > 0 for line in file)
