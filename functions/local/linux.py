"""System calls that Python's standard library does not offer. Each raises OSError if the kernel refuses."""

from __future__ import annotations

import ctypes
import fcntl
import os
import signal
import socket
import struct

CLONE_NEWNS, CLONE_NEWCGROUP, CLONE_NEWUTS, CLONE_NEWIPC, CLONE_NEWUSER, CLONE_NEWPID, CLONE_NEWNET = (
    0x0002_0000, 0x0200_0000, 0x0400_0000, 0x0800_0000, 0x1000_0000, 0x2000_0000, 0x4000_0000,
)  # fmt: skip
READ_ONLY, NO_SET_UID, NO_DEVICES = 1, 2, 4  # attributes of a mount

_MS_NOSUID, _MS_NODEV, _MS_REC, _MS_PRIVATE = 2, 4, 0x4000, 0x4_0000
_MNT_DETACH = 2
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_CAPBSET_DROP = 1, 4, 22, 24
_PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS, _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 36, 38, 47, 4
_SECCOMP_MODE_FILTER = 2
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH = 1, 4
_KEYCTL_JOIN_SESSION_KEYRING = 1
_CAPABILITY_VERSION_3 = 0x2008_0522
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1
# These two have the same number on every architecture.
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
# aarch64 and riscv64 share the kernel's generic table of system calls.
_GENERIC = {"pivot_root": 41, "keyctl": 219, "capset": 91}
_NUMBERS = {
    "x86_64": {"pivot_root": 155, "keyctl": 250, "capset": 126},
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
}

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def unshare(kinds: int) -> None:
    """Move this process into new namespaces; its children, for CLONE_NEWPID."""
    _call("unshare", kinds)


def adopt_orphans() -> None:
    """Become the parent of every process below this one whose own parent ends."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """Have the kernel kill this process when its parent ends. A change of user undoes this."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def hide_from_ptrace() -> None:
    """Close /proc/PID/{mem,fd,environ,…} of this process to every process without capabilities."""
    _prctl(_PR_SET_DUMPABLE, 0)


def drop_bounding_set() -> None:
    """Keep every capability from all programs that this process starts. Needs CAP_SETPCAP; without it, do nothing."""
    number = 0
    while _libc.prctl(_PR_CAPBSET_DROP, number, 0, 0, 0) == 0:
        number += 1


def drop_capabilities() -> None:
    """Give up every capability of this process."""
    _call("prctl", _PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    _syscall("capset", struct.pack("Ii", _CAPABILITY_VERSION_3, 0), bytes(24))


def forbid_new_privileges() -> None:
    """Make set-uid bits and file capabilities ineffective for every program that this process starts."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def install_filter(program: bytes) -> None:
    """Install a seccomp filter: BPF instructions of 8 bytes each."""
    buffer = ctypes.create_string_buffer(program, len(program))
    header = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(buffer))
    _call("prctl", _PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, ctypes.c_char_p(header), 0, 0)


def join_new_keyring() -> None:
    """Replace the session keyring by a new, empty one."""
    _syscall("keyctl", _KEYCTL_JOIN_SESSION_KEYRING, None)


def bring_up_loopback() -> None:
    """Set the interface `lo` of this network namespace up."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = fcntl.ioctl(control, _SIOCGIFFLAGS, struct.pack("16sh14x", b"lo", 0))
        (flags,) = struct.unpack_from("h", request, 16)
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))


def make_mounts_private() -> None:
    """Keep this mount namespace's changes from all others."""
    _call("mount", None, b"/", None, _MS_REC | _MS_PRIVATE, None)


def mount(kind: str, target: str, options: str | None = None) -> None:
    """Mount a new `tmpfs` or `proc`."""
    _call("mount", kind.encode(), target.encode(), kind.encode(), _MS_NOSUID | _MS_NODEV, options and options.encode())


def clone_mount(path: str, attributes: int, *, recursive: bool = True) -> int:
    """Copy what is mounted at `path` and return its descriptor. Nobody sees it before `attach_mount`."""
    recurse = _AT_RECURSIVE if recursive else 0
    flags = _OPEN_TREE_CLONE | recurse | os.O_CLOEXEC
    tree = _call("syscall", _SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)
    _set_attributes(tree, b"", _AT_EMPTY_PATH | recurse, attributes)
    return tree


def attach_mount(tree: int, target: str) -> None:
    """Mount the copy at `target` and close its descriptor."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH
    _call("syscall", _SYS_MOVE_MOUNT, tree, b"", _AT_FDCWD, os.fsencode(target), flags)
    os.close(tree)


def make_read_only(target: str) -> None:
    """Make one mount read-only."""
    _set_attributes(_AT_FDCWD, os.fsencode(target), 0, READ_ONLY)


def pivot_root(root: str) -> int:
    """Make `root` the root folder. Return a descriptor of the old one, for `detach`."""
    old = os.open("/", os.O_DIRECTORY | os.O_PATH | os.O_CLOEXEC)
    os.chdir(root)
    _syscall("pivot_root", b".", b".")
    os.chdir("/")
    return old


def detach(descriptor: int) -> None:
    """Unmount the old root and close its descriptor."""
    os.fchdir(descriptor)
    _call("umount2", b".", _MNT_DETACH)
    os.close(descriptor)
    os.chdir("/")


def _set_attributes(folder: int, path: bytes, flags: int, attributes: int) -> None:
    wanted = (ctypes.c_uint64 * 4)(attributes, 0, 0, 0)
    _call("syscall", _SYS_MOUNT_SETATTR, folder, path, flags, wanted, ctypes.c_size_t(ctypes.sizeof(wanted)))


def _prctl(option: int, value: int) -> None:
    _call("prctl", option, value, 0, 0, 0)


def _syscall(name: str, *arguments: object) -> int:
    try:
        number = _NUMBERS[os.uname().machine][name]
    except KeyError:
        raise OSError(f"{name}: no number is known for {os.uname().machine}") from None
    return _call("syscall", number, *arguments, name=name)


def _call(function: str, *arguments: object, name: str = "") -> int:
    result: int = getattr(_libc, function)(*arguments)
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{name or function}: {os.strerror(number)}")
    return result
