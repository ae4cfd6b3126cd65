"""The files of this machine that an algorithm in the sandbox sees, as a list of mounts.

The view starts empty. It gets the folders of programs, a made /etc, a few devices, its own /proc, /tmp and /data, and
what `--show` names. Nothing here touches the kernel; functions/local/sandbox.py mounts the list in its order.
"""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from functions.workflow.volume_layout import ADMIN_LOGS, LOGS, OUTPUTS, VOLUME

# Where the view has something of its own. Nothing of the machine can be shown there.
OWN_FOLDERS = (VOLUME, "/dev", "/etc", "/proc", "/sys")
_TMP = "/tmp"  # noqa: S108 - the stage's own
_SYSTEM_FOLDERS = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store")
# Beside a `bin` folder, these hold what its programs need. Others may hold what is private (~/.docker/config.json).
_BESIDE_BIN = ("lib", "lib32", "lib64", "libexec", "plugins", "share", "shims", "version", "versions")
# A folder with one of these is one installation as a whole: a virtual environment, conda.
_INSTALLATION_MARKS = ("pyvenv.cfg", "conda-meta")
# Of /etc: what the linker, TLS, fonts and the runtimes of languages read. Nothing of users or services.
_SHOWN_OF_ETC = (
    "ld.so.cache", "ld.so.conf", "ld.so.conf.d", "alternatives", "localtime", "timezone", "mime.types", "protocols",
    "services", "ssl/certs", "ssl/openssl.cnf", "ca-certificates", "pki/tls/certs", "pki/ca-trust/extracted", "fonts",
    "R", "OpenCL", "magic",
)  # fmt: skip
_SHOWN_OF_ETC_BY_PREFIX = ("python3", "java-", "perl")
_DEVICES = ("null", "zero", "full", "random", "urandom", "tty")
_DEVICE_LINKS = {"fd": "", "stdin": "/0", "stdout": "/1", "stderr": "/2"}
# The name of the machine inside. Programs that talk to themselves look it up.
HOST_NAME = "algorithm"
_HOSTS = f"127.0.0.1 localhost {HOST_NAME}\n::1 localhost\n"
_NAME_SERVICE = "passwd: files\ngroup: files\nhosts: files\n"


class Mount(Struct, frozen=True, omit_defaults=False):
    """One entry of the view.

    `bind` and `device` show `source`; `tmpfs` is empty, of `size` bytes; `proc` is a new one; `file` has the content
    `text`; `link` leads to `text`. Unless `writable`, nothing in it can be changed.
    """

    kind: str
    target: str
    source: str = ""
    writable: bool = False
    size: int = 0
    mode: str = "755"
    text: str = ""


def view(
    volume: Path,
    scratch: Path,
    *,
    platform: Path,
    user: tuple[int, int],
    shared_memory: int,
    shown: Sequence[Path] = (),
) -> list[Mount]:
    """List the mounts for a stage.

    `volume` becomes /data, of which only outputs and logs are writable, and `scratch` becomes /tmp. `platform` is the
    platform's folder: it is closed wherever it would be visible. `user`: uid and gid of the program. `shared_memory`:
    bytes of /dev/shm. `shown`: further files and folders, read-only.
    """
    return [
        Mount("bind", _TMP, str(scratch), writable=True),
        *_machine(platform, user, shared_memory, shown),
        Mount("bind", VOLUME, str(volume)),
        *(Mount("bind", f"{VOLUME}/{name}", str(volume / name), writable=True) for name in (OUTPUTS, LOGS)),
        _closed(f"{VOLUME}/{ADMIN_LOGS}"),
        *_closed_platform(platform, shown),
    ]


def task_view(
    places: Sequence[tuple[str, str, bool]],
    *,
    platform: Path,
    user: tuple[int, int],
    shared_memory: int,
    shown: Sequence[Path] = (),
) -> list[Mount]:
    """List the mounts for an executor of a TES task.

    `places`: where each is in the container, its source, and whether it is writable; /tmp is among them. The rest is
    as in `view`.
    """
    machine = list(_machine(platform, user, shared_memory, shown))
    closed = list(_closed_platform(platform, shown))
    shows = [mount.target for mount in machine if mount.kind == "bind"]
    mirrors: dict[str, list[Mount]] = {}
    for target, _, _ in places:
        for folder in _folders_to_mirror(os.path.realpath(target), shows):
            mirrors.setdefault(folder, list(_mirror(folder)))
    return [
        *machine,
        *(mount for folder in sorted(mirrors) for mount in mirrors[folder]),
        *closed,  # after the mirrors, which show again what is in a folder
        *(Mount("bind", target, source, writable=writable) for target, source, writable in places),
    ]


def _folders_to_mirror(target: str, shows: Sequence[str]) -> Iterator[str]:
    """The shown folders above a target that does not exist on this machine.

    They are read-only, so no mount point can be made in them. Each is replaced by an empty one with the same entries.
    """
    if os.path.exists(target):
        return
    above = os.path.dirname(target)
    while above != "/":
        if os.path.isdir(above) and _is_below(above, shows):
            yield above
        above = os.path.dirname(above)


def _mirror(folder: str) -> Iterator[Mount]:
    """Replace a folder of this machine by an empty one, and mount the same entries in it."""
    yield Mount("tmpfs", folder, size=1 << 20)
    for entry in os.scandir(folder):
        if entry.is_symlink():
            yield Mount("link", entry.path, text=os.readlink(entry.path))
        elif entry.is_dir() or entry.is_file():
            yield Mount("bind", entry.path, entry.path)


def _machine(platform: Path, user: tuple[int, int], shared_memory: int, shown: Sequence[Path]) -> Iterator[Mount]:
    """The parts of this machine that a sandbox shows, and what it shows in their place."""
    yield from _system_folders()
    yield from (Mount("bind", path, path) for path in _shows(platform, shown) if not _is_below(path, _SYSTEM_FOLDERS))
    yield from _links(shown)
    yield from _etc(user)
    yield from _devices(shared_memory)
    yield Mount("proc", "/proc")


def _shows(platform: Path, shown: Iterable[Path]) -> list[str]:
    return [path for path in visible(shown) if not _is_below(path, (str(platform),))]


def _closed_platform(platform: Path, shown: Iterable[Path]) -> Iterator[Mount]:
    if _is_below(str(platform), _shows(platform, shown)):
        yield _closed(str(platform))


def as_json(mounts: Iterable[Mount], root: Path) -> dict[str, Any]:
    """The view as functions/local/sandbox.py reads it. `root`: an empty folder, to mount the new root on."""
    return {"root": str(root), "host_name": HOST_NAME, "mounts": [msgspec.structs.asdict(mount) for mount in mounts]}


def visible(shown: Iterable[Path] = ()) -> list[str]:
    """The folders and files of this machine that algorithms see, at their own path; parents before what they hold."""
    found = {*_system_paths(), *_program_paths(), *(os.path.realpath(path) for path in shown)}
    found = {path for path in found if os.path.exists(path) and path != _TMP and not _is_below(path, OWN_FOLDERS)}
    kept: list[str] = []
    for path in sorted(found):
        if not _is_below(path, kept):
            kept.append(path)
    return kept


def conflict(path: Path) -> str:
    """Say why a file or folder cannot be shown; empty if it can."""
    real = os.path.realpath(path)
    if not os.path.exists(real):
        return "it does not exist"
    if real == "/" or _is_below(real, OWN_FOLDERS) or real == _TMP:
        return f"algorithms have a {real} of their own"
    return ""


def _system_paths() -> list[str]:
    return [path for path in _SYSTEM_FOLDERS if os.path.isdir(path) and not os.path.islink(path)]


def _system_folders() -> Iterator[Mount]:
    for path in _SYSTEM_FOLDERS:
        if os.path.islink(path):
            yield Mount("link", path, text=os.readlink(path))
        elif os.path.isdir(path):
            yield Mount("bind", path, path)


def _program_paths() -> Iterator[str]:
    """The folders of this Python and of the programs on PATH, with links resolved."""
    homes = _homes()
    for prefix in (sys.prefix, sys.base_prefix):
        yield from _installation(os.path.realpath(prefix), homes)
    for name in os.environ.get("PATH", "").split(os.pathsep):
        entry = os.path.realpath(name)
        if not os.path.isabs(name) or _holds_any(entry, homes):
            continue
        yield entry
        if os.path.basename(entry) in ("bin", "sbin"):
            yield from _beside(entry, homes)


def _installation(prefix: str, homes: frozenset[str]) -> Iterator[str]:
    if _holds_any(prefix, homes):
        yield from (f"{prefix}/bin", f"{prefix}/lib")
    else:
        yield prefix


def _beside(folder: str, homes: frozenset[str]) -> Iterator[str]:
    """The folders beside a `bin` folder that its programs need. Their parent may hold private files too."""
    parent = os.path.dirname(folder)
    if _holds_any(parent, homes):
        return
    if any(os.path.exists(f"{parent}/{mark}") for mark in _INSTALLATION_MARKS):
        yield parent
        return
    names = ("lib",) if os.path.dirname(parent) in homes and os.path.basename(parent) == ".local" else _BESIDE_BIN
    yield from (f"{parent}/{name}" for name in names)


def _links(shown: Iterable[Path]) -> Iterator[Mount]:
    """Links for folders that are named by a path with links in it: programs may use that path."""
    named = (sys.prefix, sys.base_prefix, *os.environ.get("PATH", "").split(os.pathsep), *map(str, shown))
    for path in dict.fromkeys(os.path.normpath(name) for name in named if os.path.isabs(name)):
        real = os.path.realpath(path)
        if real != path and not _is_below(path, OWN_FOLDERS):
            yield Mount("link", path, text=real)


def _etc(user: tuple[int, int]) -> Iterator[Mount]:
    uid, gid = user
    accounts = f"root:x:0:0:root:/:/bin/sh\nalgorithm:x:{uid}:{gid}:algorithm:/tmp:/bin/sh\n"
    files = {
        "passwd": accounts,
        "group": f"root:x:0:\nalgorithm:x:{gid}:\n",
        "hosts": _HOSTS,
        "nsswitch.conf": _NAME_SERVICE,
    }
    yield from (Mount("file", f"/etc/{name}", text=text) for name, text in files.items())
    by_prefix = (name for name in sorted(os.listdir("/etc")) if name.startswith(_SHOWN_OF_ETC_BY_PREFIX))
    for path in (f"/etc/{name}" for name in (*_SHOWN_OF_ETC, *by_prefix)):
        if os.path.islink(path):
            yield Mount("link", path, text=os.readlink(path))
        elif os.path.exists(path):
            yield Mount("bind", path, path)


def _devices(shared_memory: int) -> Iterator[Mount]:
    yield Mount("tmpfs", "/dev", size=1 << 16)
    yield from (Mount("device", f"/dev/{name}", f"/dev/{name}", writable=True) for name in _DEVICES)
    yield from (Mount("link", f"/dev/{name}", text=f"/proc/self/fd{end}") for name, end in _DEVICE_LINKS.items())
    yield Mount("tmpfs", "/dev/shm", writable=True, size=shared_memory, mode="1777")  # noqa: S108


def _closed(target: str) -> Mount:
    return Mount("tmpfs", target, size=4096, mode="000")


def _homes() -> frozenset[str]:
    """The home folders of people, and the folders that hold them."""
    found = {str(Path.home()), "/root", "/home"}
    found |= {entry.pw_dir for entry in pwd.getpwall() if entry.pw_uid >= 1000 and entry.pw_dir != "/nonexistent"}
    return frozenset(os.path.realpath(path) for path in found if path != "/")


def _holds_any(folder: str, homes: Iterable[str]) -> bool:
    """Whether a folder is a home or holds one."""
    return folder == "/" or any(home == folder or home.startswith(f"{folder}/") for home in homes)


def _is_below(path: str, folders: Iterable[str]) -> bool:
    """Whether a path is one of the folders or lies in one."""
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)
