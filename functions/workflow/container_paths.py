"""Paths inside a container that a client chooses: which are allowed, and which folders are mounted for them. Pure.

All declared places are one tree on the workflow's volume. Folders of that tree are mounted at their own paths. A file
is mounted only where the folder around it must stay the image's: a file that is a mount cannot be moved or removed.
"""

from __future__ import annotations

from collections.abc import Iterable
from posixpath import dirname
from typing import NamedTuple

MAX_PATH = 700  # bytes
MAX_PART = 255  # bytes
MAX_MOUNTS = 200
TMP = "/tmp"  # noqa: S108 - the container's, a folder of the volume
# What an image needs: never covered as a whole. Deeper folders may be.
SYSTEM = frozenset((
    "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/usr", "/etc", "/var", "/root", "/home", "/opt", "/run",
    "/boot",
))  # fmt: skip
LOGS = "/.sluice"  # where what an executor prints is kept
FORBIDDEN = ("/proc", "/sys", "/dev", LOGS)  # the kernel's, and ours; nothing may be put below them


class PathRefused(ValueError):
    """A path that cannot be mounted in a container; `expected` describes one that can."""

    def __init__(self, path: str, expected: str) -> None:
        super().__init__(f"{path!r}: expected {expected}")
        self.path = path
        self.expected = expected


class Mount(NamedTuple):
    """One place of the tree, mounted at its own path in every executor."""

    path: str
    read_only: bool
    is_file: bool = False


class Places(NamedTuple):
    """Every place that a task declares, by what it is for."""

    input_files: tuple[str, ...] = ()
    input_folders: tuple[str, ...] = ()
    output_folders: tuple[str, ...] = ()  # those that hold the outputs
    volumes: tuple[str, ...] = ()
    workdirs: tuple[str, ...] = ()
    streams: tuple[str, ...] = ()  # stdout, stderr

    @property
    def folders(self) -> tuple[str, ...]:
        """The folders that must exist, inputs aside."""
        named = (*self.input_folders, *self.output_folders, *self.volumes, *self.workdirs)
        return (*map(_folder, named), *map(dirname, self.streams))


def check_path(path: str) -> None:
    """Raise PathRefused unless `path` may stand in a task."""
    if not path.startswith("/") or path == "/":
        raise PathRefused(path, "an absolute path below `/`")
    parts = path.removesuffix("/").split("/")[1:]
    if any(part in ("", ".", "..") for part in parts):
        raise PathRefused(path, "a path without empty parts, `.` and `..`")
    if any(len(part.encode(errors="replace")) > MAX_PART for part in parts):
        raise PathRefused(path, f"parts of at most {MAX_PART} bytes")
    if not path.isprintable() or ":" in path:
        raise PathRefused(path, "a path without `:`, control and invisible characters")
    if len(path.encode()) > MAX_PATH:
        raise PathRefused(path, f"a path of at most {MAX_PATH} bytes")
    if any(_is_below(path, root) for root in FORBIDDEN):
        raise PathRefused(path, f"a path outside {', '.join(FORBIDDEN)}")


def plan(places: Places) -> tuple[Mount, ...]:
    """Return what is mounted where, in the order of paths. Raises PathRefused."""
    _check_inputs(places)
    writable = {
        *(_folder(path) for path in (*places.volumes, *places.workdirs, *places.output_folders)),
        *(dirname(_folder(path)) for path in places.streams),
        TMP,
    }
    input_files = set(places.input_files)
    for folder in writable:
        if folder == "/" or folder in SYSTEM:
            raise PathRefused(folder, "a folder of your own: one that the image needs cannot be written to")
        _refuse_below_files(folder, folder, input_files)
    readable = {_folder(path) for path in places.input_folders}
    files = set()
    for path in places.input_files:
        parent = dirname(path)
        if parent == "/" or parent in SYSTEM:
            files.add(path)
        else:
            readable.add(parent)
    for folder in readable:
        if folder in SYSTEM:
            raise PathRefused(folder, "a folder of your own: one that the image needs cannot be covered")
    mounts = _folders(writable, readable) + [Mount(path, read_only=True, is_file=True) for path in sorted(files)]
    if len(mounts) > MAX_MOUNTS:
        raise PathRefused(mounts[-1].path, f"at most {MAX_MOUNTS} separate folders; use fewer, larger ones")
    return tuple(sorted(mounts))


def _folders(writable: set[str], readable: set[str]) -> list[Mount]:
    """The topmost folders. A folder is writable if it, or a folder below it, is written to."""
    every = sorted(writable | readable)
    tops = [folder for folder in every if not any(_is_below(folder, other) for other in every if other != folder)]
    return [Mount(top, read_only=not any(_is_below(each, top) for each in writable)) for top in tops]


def _check_inputs(places: Places) -> None:
    seen: set[str] = set()
    for path in (*places.input_files, *map(_folder, places.input_folders)):
        if path in seen:
            raise PathRefused(path, "a path that no other input has")
        seen.add(path)
    files = set(places.input_files)
    for path in seen:
        _refuse_below_files(path, dirname(path), files)


def _refuse_below_files(path: str, above: str, files: set[str]) -> None:
    while above != "/":
        if above in files:
            raise PathRefused(path, f"a path outside of {above}, because that is an input file")
        above = dirname(above)


def _folder(path: str) -> str:
    return path.rstrip("/") or "/"


def _is_below(path: str, folder: str) -> bool:
    """Whether `path` is the folder or lies in it."""
    return path == folder or path.startswith(f"{folder}/")


def parents(paths: Iterable[str]) -> list[str]:
    """Return every folder that must exist for the paths to be made, top down."""
    found: set[str] = set()
    for path in paths:
        above = dirname(_folder(path))
        while above != "/":
            found.add(above)
            above = dirname(above)
    return sorted(found)
