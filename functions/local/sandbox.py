"""Namespaces of the kernel around one stage, made by an ordinary user. Only the standard library, as the supervisor.

What a stage sees in a full sandbox: the programs of this machine, read-only; its volume as /data; no network; no other
process; nothing of home folders and of the platform's own folder.
"""

from __future__ import annotations

import ctypes
import os
import signal
from typing import Any

_NEWNS, _NEWUTS, _NEWIPC, _NEWUSER, _NEWPID, _NEWNET = (
    0x0002_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000,
)  # fmt: skip
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 2, 4, 0x1000, 0x4000, 0x4_0000
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 1, 24, 36, 38
_SYS_MOUNT_SETATTR, _AT_FDCWD, _AT_RECURSIVE, _ATTR_RDONLY = (
    442,
    -100,
    0x8000,
    1,
)  # the same number on every architecture
_SYS_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41, "riscv64": 41, "ppc64le": 203, "s390x": 217, "armv7l": 218}

_libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends."""
    _call("prctl", _PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> None:
    _call("prctl", _PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def run(plan: dict[str, Any]) -> None:
    """Become the stage's program, in the sandbox of the plan. Raises OSError; otherwise never returns."""
    level = plan["isolation"]
    if level == "network":
        _unshare(_NEWNET)
    elif level == "sandbox":
        _unshare(_NEWNET | _NEWNS | _NEWPID | _NEWIPC | _NEWUTS)
        # Only children are in the new process namespace; the first is its init and takes all others along when it ends.
        _become_child(lambda: _become_root(plan["view"]))
        _become_child(lambda: None)
    os.chdir(plan["cwd"])
    if level != "none":
        _drop_privileges()
    os.execvpe(plan["command"][0], plan["command"], plan["environ"])  # noqa: S606 - it is the purpose


def _unshare(kinds: int) -> None:
    uid, gid = os.getuid(), os.getgid()
    _call("unshare", _NEWUSER | kinds)
    for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{file}", "w") as mapping:
            mapping.write(text)
    die_with_parent()  # the new credentials took it away


def _become_child(prepare: Any) -> None:
    """Fork and return in the child; the parent only waits for it and ends as it does."""
    child = os.fork()
    if child == 0:
        die_with_parent()
        prepare()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is sent to the program as well
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _become_root(view: dict[str, Any]) -> None:
    """Put a new root together and move there. `view`: see plan.py."""
    root = view["root"]
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    # What is to be seen again is opened before something is laid over it.
    opened = [(path, os.open(source, os.O_PATH), read_only) for path, source, read_only in view["show"]]
    _empty(root, "mode=755")
    for entry in os.scandir("/"):
        target = f"{root}/{entry.name}"
        if entry.is_symlink():
            os.symlink(os.readlink(entry.path), target)
        elif entry.is_dir() and entry.path not in ("/dev", "/proc", *view["hide"]):
            os.mkdir(target)
            _bind(entry.path, target, read_only=True)
    for path in view["hide"]:
        os.makedirs(root + path, exist_ok=True)
        _empty(root + path, "mode=755")
    for path, source, read_only in opened:
        _place_for(root + path, f"/proc/self/fd/{source}")
        _bind(f"/proc/self/fd/{source}", root + path, read_only=read_only)
        os.close(source)
    for path in view["cover"]:
        _empty(root + path, "mode=000,size=4k")
    _devices(f"{root}/dev", view["shared_memory"])
    os.mkdir(f"{root}/proc")
    _mount("proc", f"{root}/proc", "proc", _MS_NOSUID | _MS_NODEV)
    os.chdir(root)
    _call("syscall", _SYS_PIVOT_ROOT[os.uname().machine], b".", b".")
    _call("umount2", b".", _MNT_DETACH)
    _read_only("/", 0)


def _place_for(path: str, source: str) -> None:
    """What a folder or a file can be bound to must be there, and be of its kind."""
    if os.path.isdir(source):
        os.makedirs(path, exist_ok=True)
    else:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        open(path, "a").close()


def _devices(folder: str, shared_memory: int) -> None:
    os.mkdir(folder)
    _empty(folder, "mode=755,size=64k")
    for name in ("null", "zero", "full", "random", "urandom"):
        open(f"{folder}/{name}", "w").close()
        _mount(f"/dev/{name}", f"{folder}/{name}", None, _MS_BIND)
    for name, target in (("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")):
        os.symlink(f"/proc/self/{target}", f"{folder}/{name}")
    os.mkdir(f"{folder}/shm")
    _empty(f"{folder}/shm", f"mode=1777,size={shared_memory}")


def _empty(path: str, options: str) -> None:
    _mount("tmpfs", path, "tmpfs", _MS_NOSUID | _MS_NODEV, options)


def _bind(source: str, target: str, *, read_only: bool) -> None:
    _mount(source, target, None, _MS_BIND | _MS_REC)
    if read_only:
        _read_only(target, _AT_RECURSIVE)


def _read_only(path: str, flags: int) -> None:
    attributes = (ctypes.c_uint64 * 4)(_ATTR_RDONLY, 0, 0, 0)
    _call("syscall", _SYS_MOUNT_SETATTR, _AT_FDCWD, path.encode(), flags, attributes, ctypes.sizeof(attributes))


def _drop_privileges() -> None:
    """Nothing that the new namespaces grant, and no set-uid program, gives the stage more than its user has."""
    _call("prctl", _PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    capability = 0
    while _libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0) == 0:
        capability += 1


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    encoded = [text and text.encode() for text in (source, target, kind)]
    _call("mount", *encoded, flags, options and options.encode())


def _call(function: str, *arguments: Any) -> None:
    if getattr(_libc, function)(*arguments) == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{function}: {os.strerror(number)}")
