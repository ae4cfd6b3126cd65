"""The memory and the disk that a stage uses, from /proc. Only the standard library: the supervisor imports it."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

# A file or a folder counts at least this much, however little is in it. Bytes.
_INODE = 512
# Paths of files without a disk: of memfd_create, of shared mappings, of System V, of shm_open.
_SHM = "/dev/shm"  # noqa: S108 - measured, not used
_IN_MEMORY = ("/memfd:", "/dev/zero", "/SYSV", f"{_SHM}/")
_DELETED = " (deleted)"
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (....) [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)")
_RESIDENT_COLUMN = 14  # of /proc/sysvipc/shm

FileId = tuple[int, int]  # device, inode


class OpenFiles(NamedTuple):
    """Files that processes have open or mapped, and that take space which no folder shows. In bytes."""

    in_memory: dict[FileId, int]
    unlinked: dict[FileId, int]  # on disk


class SharedMemory(NamedTuple):  # no dataclass: its import takes 30 ms
    """The shared memory of a stage in a sandbox: its own /dev/shm, and its own System V segments."""

    device: int = 0  # of /dev/shm; 0: the stage has none of its own
    used: int = 0  # bytes in both
    counts_system_v: bool = False


def open_files(pids: Iterable[int], own_shm: int = 0) -> OpenFiles:
    """Find the files in memory, except those on the device `own_shm`, and the unlinked files of processes."""
    found = OpenFiles({}, {})
    for pid in pids:
        with suppress(OSError):
            for entry in os.scandir(f"/proc/{pid}/fd"):
                _examine(entry.path, found, own_shm)
        for mapping in _mappings(pid, "maps"):
            if mapping.shared and mapping.path.endswith(_DELETED) and not mapping.path.startswith(_IN_MEMORY):
                found.unlinked.setdefault(mapping.file, mapping.size)
    return found


def shared_memory(pids: Iterable[int], system_v: int | None) -> SharedMemory:
    """Measure the shared memory of a stage in a sandbox. `system_v`: its open /proc/sysvipc/shm."""
    segments = 0
    if system_v is not None:
        lines = os.pread(system_v, 1 << 20, 0).decode().splitlines()[1:]
        segments = sum(int(line.split()[_RESIDENT_COLUMN]) for line in lines)
    ours = os.stat(_SHM).st_dev if os.path.isdir(_SHM) else 0
    for pid in pids:
        with suppress(OSError):
            folder = f"/proc/{pid}/root{_SHM}"
            device, status = os.stat(folder).st_dev, os.statvfs(folder)
            if device != ours:  # otherwise the process has not entered the sandbox yet
                used = (status.f_blocks - status.f_bfree) * status.f_frsize
                return SharedMemory(device, used + segments, system_v is not None)
    return SharedMemory(0, segments, system_v is not None)


def memory(pids: Sequence[int], enough: int, files: OpenFiles, shared: SharedMemory) -> int:
    """Bytes of memory that processes use, with their files in memory.

    Memory that several processes share counts once, but this is looked into only if a quick sum is above `enough`.
    """
    unmapped = sum(files.in_memory.values()) + shared.used
    quick = unmapped + sum(_resident(pid) for pid in pids)
    if quick <= enough:
        return quick
    return unmapped + sum(_proportional(pid, files, shared) for pid in pids)


class TooDeep(Exception):
    """A folder lies so deep that its path is too long to be opened, so what it holds cannot be counted."""


def disk(folders: Iterable[str]) -> int:
    """Bytes that folders take on disk, with all they hold. Links are not followed, and each file counts once.

    Folders that their owner has closed are opened, because what they hold counts too. Raises TooDeep.
    """
    total = 0
    counted: set[FileId] = set()
    for folder in folders:
        for path, names, files in os.walk(folder, onerror=_refuse_depth):
            for name in (*names, *files):
                with suppress(OSError):
                    inner = os.path.join(path, name)
                    status = os.lstat(inner)
                    file = status.st_dev, status.st_ino
                    if file not in counted:
                        total += _INODE + status.st_blocks * 512
                    if status.st_nlink > 1:
                        counted.add(file)
                    if stat.S_ISDIR(status.st_mode) and status.st_mode & 0o500 != 0o500:
                        _open_folder(inner, status.st_mode)
    return total


def _refuse_depth(error: OSError) -> None:
    if error.errno == errno.ENAMETOOLONG:
        raise TooDeep


def _open_folder(path: str, mode: int) -> None:
    """Let the owner read a folder; not what a link leads to, if one has taken its place."""
    folder = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.chmod(f"/proc/self/fd/{folder}", stat.S_IMODE(mode) | 0o700)
    finally:
        os.close(folder)


class _Mapping(NamedTuple):
    size: int  # bytes of addresses
    shared: bool
    file: FileId
    path: str
    proportional: int = 0  # bytes in memory, divided by the number of processes that share them


def _examine(link: str, found: OpenFiles, own_shm: int) -> None:
    with suppress(OSError):
        target = os.readlink(link)
        in_memory = target.startswith(_IN_MEMORY)
        if not in_memory and not target.endswith(_DELETED):
            return
        status = os.stat(link)
        if not stat.S_ISREG(status.st_mode) or status.st_dev == own_shm:
            return
        key, size = (status.st_dev, status.st_ino), status.st_blocks * 512
        if in_memory:
            found.in_memory[key] = size
        elif status.st_nlink == 0:
            found.unlinked[key] = size


def _mappings(pid: int, name: str) -> Iterator[_Mapping]:
    """The mappings in /proc/PID/maps or /proc/PID/smaps; only the latter tells their proportional size."""
    try:
        with open(f"/proc/{pid}/{name}", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for number, line in enumerate(lines):
        if found := _MAPPING.fullmatch(line):
            start, end, mode, major, minor, inode, path = found.groups()
            file_id = os.makedev(int(major, 16), int(minor, 16)), int(inode)
            proportional = _proportional_size(lines, number) if name == "smaps" else 0
            yield _Mapping(int(end, 16) - int(start, 16), mode[3] == "s", file_id, path, proportional)


def _proportional_size(lines: list[str], number: int) -> int:
    for line in lines[number + 1 : number + 30]:
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _resident(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


def _proportional(pid: int, files: OpenFiles, shared: SharedMemory) -> int:
    """The process's share of the memory that it has mapped, without the files that are counted elsewhere."""
    mappings = list(_mappings(pid, "smaps"))
    if not mappings:
        return _resident(pid)  # we may not read it
    return sum(
        mapping.proportional
        for mapping in mappings
        if mapping.file not in files.in_memory
        and not (shared.device and mapping.file[0] == shared.device)
        and not (shared.counts_system_v and mapping.path.startswith("/SYSV"))
    )
