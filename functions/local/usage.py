"""The memory and the disk that a stage uses, from /proc. Only the standard library: the supervisor imports it."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

# A file or a folder counts at least this much, however little is in it. Bytes.
_INODE = 512
# Paths of files without a disk: of memfd_create, of shared mappings, of System V, of shm_open, of huge pages, of the
# kernel's asynchronous I/O.
_SHM = "/dev/shm"  # noqa: S108 - measured, not used
_MEMFD = "/memfd:"
_IN_MEMORY = (_MEMFD, "/dev/zero", "/SYSV", f"{_SHM}/", "/anon_hugepage", "/[aio]")
_DELETED = " (deleted)"
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) .... [0-9a-f]+ ([0-9a-f]+):([0-9a-f]+) (\d+) *(.*)")
# Of /proc/sysvipc: number of columns, and bytes of the kernel's memory for each unit of a column.
_SYSTEM_V = {"shm": (16, {14: 1}), "msg": (14, {3: 1, 4: 64}), "sem": (10, {3: 64})}
SYSTEM_V = tuple(f"/proc/sysvipc/{name}" for name in _SYSTEM_V)
_SHM_INODE = 1024  # bytes of the kernel's memory for each file in /dev/shm

DISK, MEMORY = "disk", "memory"
FileId = tuple[int, int]  # device, inode


class OpenFiles(NamedTuple):
    """Files that processes have open or mapped, and that take space which no folder shows. In bytes.

    `hidden`: DISK or MEMORY, or both, if there may be more of them, or larger ones. That is so if a file is mapped but
    not open, and if a process may not be examined.
    """

    in_memory: dict[FileId, int]
    unlinked: dict[FileId, int]  # on disk
    hidden: frozenset[str] = frozenset()


class SharedMemory(NamedTuple):  # no dataclass: its import takes 30 ms
    """The shared memory of a stage in a sandbox: its own /dev/shm, and its own segments and queues of System V."""

    device: int = 0  # of /dev/shm; 0: the stage has none of its own
    used: int = 0  # bytes in both
    counts_system_v: bool = False


def living(pids: Iterable[int]) -> list[str]:
    """Return the folders in /proc that describe the processes, without those that have ended.

    The folder of a process whose main thread has ended is empty, so that of another thread takes its place.
    """
    found = []
    for pid in pids:
        process = f"/proc/{pid}"
        if _resident(process):
            found.append(process)
            continue
        with suppress(OSError):
            threads = (f"{process}/task/{thread}" for thread in os.listdir(f"{process}/task"))
            found += [thread for thread in threads if _resident(thread)][:1]
    return found


def open_files(processes: Iterable[str], own_shm: int = 0) -> OpenFiles:
    """Find the files in memory, except those on the device `own_shm`, and the unlinked files of processes.

    `processes`: their folders in /proc, here and in all that follows.
    """
    found = OpenFiles({}, {})
    hidden: set[str] = set()
    mapped: dict[FileId, int] = {}
    for process in processes:
        try:
            for entry in os.scandir(f"{process}/fd"):
                _examine(entry.path, found, own_shm)
        except PermissionError:
            hidden |= set() if _is_init(process) else {DISK, MEMORY}
        except OSError:
            pass  # it has ended
        for mapping in _mappings(process, "maps"):
            if mapping.path.startswith(_MEMFD):
                mapped[mapping.file] = 0  # what is in memory of it counts as the process's
            elif mapping.path.endswith(_DELETED) and not mapping.path.startswith(_IN_MEMORY):
                mapped[mapping.file] = max(mapping.size, mapped.get(mapping.file, 0))
    for file in mapped.keys() - found.in_memory.keys() - found.unlinked.keys():
        hidden.add(DISK if mapped[file] else MEMORY)
        found.unlinked[file] = mapped[file]
    return found._replace(hidden=frozenset(hidden))


def _is_init(process: str) -> bool:
    """Whether this is the first process of a sandbox. It is ours, and lets nobody examine it."""
    with suppress(OSError), open(f"{process}/status") as file:
        return any(line.startswith("NSpid:") and line.split()[2:][-1:] == ["1"] for line in file)
    return False


def shared_memory(processes: Iterable[str], system_v: Sequence[int]) -> SharedMemory:
    """Measure the shared memory of a stage in a sandbox. `system_v`: the stage's own lists of SYSTEM_V, open."""
    segments = sum(map(_system_v_bytes, system_v, _SYSTEM_V.values()))
    ours = os.stat(_SHM).st_dev if os.path.isdir(_SHM) else 0
    for process in processes:
        with suppress(OSError):
            folder = f"{process}/root{_SHM}"
            device, status = os.stat(folder).st_dev, os.statvfs(folder)
            if device != ours:  # otherwise the process has not entered the sandbox yet
                used = (status.f_blocks - status.f_bfree) * status.f_frsize
                used += (status.f_files - status.f_ffree) * _SHM_INODE
                return SharedMemory(device, used + segments, bool(system_v))
    return SharedMemory(0, segments, bool(system_v))


def _system_v_bytes(table: int, kind: tuple[int, Mapping[int, int]]) -> int:
    """Bytes of the kernel's memory that one list of System V reports. `kind`: its entry in _SYSTEM_V."""
    columns, bytes_of = kind
    text = b""
    while part := os.pread(table, 1 << 16, len(text)):  # the kernel returns one page at a time
        text += part
    rows = (line.split() for line in text.splitlines()[1:])
    # Between two reads a row may move, so that a part of it is missing.
    return sum(int(row[at]) * each for row in rows if len(row) == columns for at, each in bytes_of.items())


def memory(processes: Sequence[str], enough: int, files: OpenFiles, shared: SharedMemory) -> int:
    """Bytes of memory that processes use, with their files in memory.

    Memory that several processes share counts once, but this is looked into only if a quick sum is above `enough`.
    """
    unmapped = sum(files.in_memory.values()) + shared.used
    unmapped += sum(map(_beside_resident, processes))
    quick = unmapped + sum(map(_resident, processes))
    if quick <= enough:
        return quick
    return unmapped + sum(_proportional(process, files, shared) for process in processes)


def _beside_resident(process: str) -> int:
    """Bytes of the process in swap, and of its page tables: these grow also where all that is mapped is empty."""
    with suppress(OSError), open(f"{process}/status") as file:
        return sum(int(line.split()[1]) * 1024 for line in file if line.startswith(("VmPTE:", "VmSwap:")))
    return 0


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


def _mappings(process: str, name: str) -> Iterator[_Mapping]:
    """The mappings in the process's `maps` or `smaps`; only the latter tells their proportional size."""
    try:
        with open(f"{process}/{name}", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError:
        return
    for number, line in enumerate(lines):
        if found := _MAPPING.fullmatch(line):
            start, end, major, minor, inode, path = found.groups()
            file_id = os.makedev(int(major, 16), int(minor, 16)), int(inode)
            proportional = _proportional_size(lines, number) if name == "smaps" else 0
            yield _Mapping(int(end, 16) - int(start, 16), file_id, path, proportional)


def _proportional_size(lines: list[str], number: int) -> int:
    for line in lines[number + 1 : number + 30]:
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    return 0


def _resident(process: str) -> int:
    try:
        with open(f"{process}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGESIZE")
    except OSError:
        return 0


def _proportional(process: str, files: OpenFiles, shared: SharedMemory) -> int:
    """The process's share of the memory that it has mapped, without the files that are counted elsewhere."""
    mappings = list(_mappings(process, "smaps"))
    if not mappings:
        return _resident(process)  # we may not read it
    return sum(
        mapping.proportional
        for mapping in mappings
        if mapping.file not in files.in_memory
        and not (shared.device and mapping.file[0] == shared.device)
        and not (shared.counts_system_v and mapping.path.startswith("/SYSV"))
    )
