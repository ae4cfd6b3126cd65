"""Walks a directory tree that an algorithm wrote. Trusts neither names nor file types, nor that the tree stays."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct

from functions.staging.publish.names import published_name
from functions.staging.report import StageFailure
from functions.workflow.tes_task import WILDCARDS, part_matches

MAX_DEPTH = 100  # each open folder holds a file descriptor
_DENIED = (errno.EACCES, errno.EPERM)
_NOT_A_FOLDER = (errno.ENOTDIR, errno.ELOOP)
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC

# Called with the published path, and the kind of a file that is not published. None: the file or folder is published
# under another name than its own.
Notice = Callable[[str, str | None], None]


class TreeRefused(StageFailure):
    """The tree cannot be published as it is, and another attempt cannot help."""


class TreeChanged(Exception):
    """Something was replaced or removed while the tree was read."""


class Entry(Struct, frozen=True):
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

    def tail(self, size: int) -> bytes:
        """Return the last `size` bytes. Raises TreeRefused and TreeChanged."""
        fd = self.open()
        try:
            return os.pread(fd, size, max(0, os.fstat(fd).st_size - size))
        finally:
            os.close(fd)


def walk(volume: Path, folder: str, notice: Notice) -> Generator[Entry]:
    """Yield the regular files of `volume`/`folder`, ordered by the bytes of their names.

    Never follows symbolic links. A missing folder is empty. Raises TreeRefused and TreeChanged.
    """
    if (fd := _open_top(volume, folder)) is not None:
        yield from _walk(fd, folder, notice, MAX_DEPTH)


def match(volume: Path, folder: str, parts: Sequence[str], notice: Notice, *, folders: bool) -> Generator[Entry]:
    """Yield the regular files of `volume`/`folder` whose path matches `parts`, each a name or a shell pattern.

    With `folders`, a folder that matches stands for all files below it. Never follows links. Raises as `walk`.
    """
    if (fd := _open_top(volume, folder)) is not None:
        yield from _match(fd, folder, parts, notice, folders)


def _open_top(volume: Path, folder: str) -> int | None:
    """Open a folder of the volume; None if there is none. Raises TreeRefused."""
    try:
        return os.open(volume / folder, _FOLDER)
    except FileNotFoundError:
        return None
    except OSError as e:
        raise _error(folder, e, final=(*_DENIED, *_NOT_A_FOLDER)) from e


def _match(fd: int, path: str, parts: Sequence[str], notice: Notice, folders: bool) -> Generator[Entry]:
    """Match the folder `fd`, and close it."""
    first, rest = parts[0], parts[1:]
    try:
        with _errors(path):
            names = _matching(fd, first)
        for name in names:
            here = f"{path}/{published_name(name)}"
            with _errors(here):
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                enters = stat.S_ISDIR(found.st_mode) and (rest or folders)
                folder = os.open(name, _FOLDER, dir_fd=fd) if enters else None
            kind = "a folder" if stat.S_ISDIR(found.st_mode) else _kind(found.st_mode)
            if folder is not None:
                inner = _match(folder, here, rest, notice, folders) if rest else _walk(folder, here, notice, MAX_DEPTH)
                yield from inner
            elif kind is not None:
                notice(here, kind)
            elif not rest:
                yield Entry(here, found.st_size, name, fd)
    finally:
        os.close(fd)


def _matching(fd: int, pattern: str) -> list[bytes]:
    """The names in a folder that a pattern matches. A leading dot must be in the pattern, as in a shell."""
    if not WILDCARDS.search(pattern):
        name = os.fsencode(pattern)
        return [name] if os.access(name, os.F_OK, dir_fd=fd, follow_symlinks=False) else []
    return sorted(os.fsencode(name) for name in os.listdir(fd) if part_matches(name, pattern))


def _walk(fd: int, path: str, notice: Notice, depth: int) -> Generator[Entry]:
    """Walk the folder `fd`, and close it."""
    try:
        if depth == 0:
            raise TreeRefused("TreeTooDeep", f"folders are nested deeper than {MAX_DEPTH}: write an archive instead")
        with _errors(path):
            names = sorted(map(os.fsencode, os.listdir(fd)))
        for name in names:
            here = f"{path}/{published_name(name)}"
            with _errors(here):
                found = os.stat(name, dir_fd=fd, follow_symlinks=False)
                folder = os.open(name, _FOLDER, dir_fd=fd) if stat.S_ISDIR(found.st_mode) else None
            kind = _kind(found.st_mode)
            if kind is not None or here != f"{path}/{os.fsdecode(name)}":
                notice(here, kind)
            if folder is not None:
                yield from _walk(folder, here, notice, depth - 1)
            elif kind is None:
                yield Entry(here, found.st_size, name, fd)
    finally:
        os.close(fd)


@contextmanager
def _errors(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as e:
        raise _error(path, e, final=_DENIED) from e


def _error(path: str, error: OSError, final: tuple[int, ...]) -> TreeRefused | TreeChanged:
    if error.errno in final:
        return TreeRefused("OutputUnreadable", f"{path} cannot be read: {error.strerror}")
    return TreeChanged(f"{path}: {error.strerror}")


def _kind(mode: int) -> str | None:
    """Return what is skipped, or None for a folder or a regular file."""
    if stat.S_ISDIR(mode) or stat.S_ISREG(mode):
        return None
    kinds = ((stat.S_ISLNK, "a symbolic link"), (stat.S_ISFIFO, "a pipe"), (stat.S_ISSOCK, "a socket"))
    return next((kind for test, kind in kinds if test(mode)), "a device")
