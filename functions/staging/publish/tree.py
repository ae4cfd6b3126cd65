"""Walks a directory tree that an algorithm wrote. Trusts neither names nor file types, nor that the tree stays."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from functions.staging.publish.names import published_name

MAX_DEPTH = 100  # each open folder holds a file descriptor

Skip = Callable[[str, str], None]  # called with the published path and the kind of each file that is not published


class TreeRefused(Exception):
    """The tree cannot be published. The text says why."""


class TreeChanged(Exception):
    """Something was replaced or removed while the tree was read."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A regular file. `path` begins with the folder, `outputs/…`. It can be opened until the walk continues."""

    path: str
    size: int
    _name: bytes
    _folder: int

    def open(self) -> int:
        """Return a descriptor for reading. Raises TreeRefused and TreeChanged."""
        with _errors(self.path):
            # O_NONBLOCK: the file may have become a pipe, and opening it must not block.
            fd = os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=self._folder)
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            os.close(fd)
            raise TreeChanged(f"{self.path} is no longer a regular file")
        return fd


def walk(volume: Path, folder: str, skip: Skip) -> Generator[Entry]:
    """Yield the regular files of `volume`/`folder`, ordered by the bytes of their names.

    Never follows symbolic links. A missing folder is empty. Raises TreeRefused and TreeChanged.
    """
    try:
        fd = os.open(volume / folder, _FOLDER)
    except FileNotFoundError:
        return
    except OSError as e:
        raise TreeRefused(f"{folder} is not a folder that can be read: {e.strerror}") from e
    yield from _walk(fd, folder, skip, MAX_DEPTH)


_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def _walk(fd: int, path: str, skip: Skip, depth: int) -> Generator[Entry]:
    """Walk the folder `fd`, and close it."""
    try:
        if depth == 0:
            raise TreeRefused(f"folders are nested deeper than {MAX_DEPTH}")
        with _errors(path):
            names = sorted(map(os.fsencode, os.listdir(fd)))
        for name in names:
            here = f"{path}/{published_name(name)}"
            with _errors(here):
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                folder = os.open(name, _FOLDER, dir_fd=fd) if stat.S_ISDIR(found.st_mode) else None
            if folder is not None:
                yield from _walk(folder, here, skip, depth - 1)
            elif stat.S_ISREG(found.st_mode):
                yield Entry(here, found.st_size, name, fd)
            else:
                skip(here, _kind(found.st_mode))
    finally:
        os.close(fd)


@contextmanager
def _errors(path: str) -> Iterator[None]:
    try:
        yield
    except PermissionError as e:
        raise TreeRefused(f"{path} cannot be read: {e.strerror}") from e
    except OSError as e:
        raise TreeChanged(f"{path}: {e.strerror}") from e


def _kind(mode: int) -> str:
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((kind for test, kind in kinds if test(mode)), "a device")
