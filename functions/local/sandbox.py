"""Starts a stage's program in this process: isolated, unprivileged, with a filter for system calls.

The isolation has three levels. `sandbox` gives the program its own view of the files (functions/local/view.py), its
own processes, IPC and network; `network` its own network only; `none` neither. At each level the program runs without
capabilities, under the filter of functions/local/seccomp.py, with a keyring of its own, and never as root. Only the
standard library is imported.
"""

from __future__ import annotations

import os
import signal
import socket
import stat
from contextlib import ExitStack, suppress
from typing import Any

from functions.local import linux, seccomp
from functions.local.usage import SYSTEM_V

_SANDBOX = (
    linux.CLONE_NEWNET
    | linux.CLONE_NEWNS
    | linux.CLONE_NEWPID
    | linux.CLONE_NEWIPC
    | linux.CLONE_NEWUTS
    | linux.CLONE_NEWCGROUP
)
# As container runtimes have them.
_PROC_READ_ONLY = ("bus", "fs", "irq", "sys", "sysrq-trigger")
_PROC_HIDDEN = (
    "acpi", "asound", "kcore", "keys", "key-users", "kmsg", "latency_stats", "sched_debug", "scsi", "timer_list",
    "timer_stats",
)  # fmt: skip


def run(spec: dict[str, Any], report: socket.socket | None = None) -> None:
    """Become the program of the launch spec. Raises OSError if that fails; otherwise never returns.

    `report`: in a sandbox it receives the open lists of what the stage has of System V (usage.SYSTEM_V).
    """
    _join_new_keyring()
    level = spec["isolation"]
    if level == "sandbox":
        _enter_sandbox(spec, report)
    elif level == "network":
        _unshare(linux.CLONE_NEWNET)
        linux.bring_up_loopback()
    if level != "sandbox":
        _drop_privileges(spec["user"])
    _execute(spec)


def run_trusted(spec: dict[str, Any]) -> None:
    """Become the program of the launch spec without isolation. For our own programs: they need network and user."""
    _join_new_keyring()
    _execute(spec)


def _enter_sandbox(spec: dict[str, Any], report: socket.socket | None) -> None:
    _unshare(_SANDBOX)
    linux.bring_up_loopback()
    socket.sethostname(spec["view"]["host_name"])
    # Only children are in the new process namespace. The first is its init: all others end when it ends.
    _continue_in_child()
    _build_view(spec["view"])
    if report is not None:
        _send_system_v_lists(report)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    _drop_privileges(spec["user"])
    linux.hide_from_ptrace()  # init has the same user as the program
    _continue_in_child()


def _execute(spec: dict[str, Any]) -> None:
    _enter_workdir(spec["cwd"])
    os.execvpe(spec["command"][0], spec["command"], spec["environ"])  # noqa: S606 - the purpose of this module


def _enter_workdir(path: str) -> None:
    """Change to a folder. Raises OSError that says where a link leads: an algorithm may have put one there."""
    try:
        os.chdir(path)
    except OSError as e:
        link = f", a link to {os.readlink(path)}," if os.path.islink(path) else ""
        raise OSError(f"its workdir {path}{link} cannot be entered: {e.strerror}") from None


def _join_new_keyring() -> None:
    with suppress(OSError):  # the kernel may be built without keys
        linux.join_new_keyring()


def _unshare(kinds: int) -> None:
    """Make new namespaces. An ordinary user needs a user namespace for that; root does not."""
    uid, gid = os.getuid(), os.getgid()
    if uid == 0:
        linux.unshare(kinds)
        return
    linux.unshare(linux.CLONE_NEWUSER | kinds)
    for file, text in (("setgroups", "deny"), ("uid_map", f"{uid} {uid} 1"), ("gid_map", f"{gid} {gid} 1")):
        with open(f"/proc/self/{file}", "w") as mapping:
            mapping.write(text)
    linux.end_with_parent()  # the new credentials undid it


def _drop_privileges(user: list[int] | None) -> None:
    """Give up root for `user` (uid, gid), all capabilities, and the system calls that the filter refuses."""
    linux.drop_bounding_set()
    if user is not None:
        uid, gid = user
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
        linux.end_with_parent()  # the new credentials undid it
    linux.drop_capabilities()
    linux.forbid_new_privileges()
    linux.install_filter(seccomp.program(os.uname().machine))


def _continue_in_child() -> None:
    """Fork and return in the child. The parent waits for it and ends as it does."""
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        linux.end_with_parent()
        if os.getppid() not in (parent, 0):  # 0: the parent is outside of this process namespace
            os._exit(128 + signal.SIGKILL)  # it ended before
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        return
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # the program receives it too
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)


def _build_view(view: dict[str, Any]) -> None:
    """Make a root folder from the view's mounts, in their order, and move into it."""
    linux.make_mounts_private()
    mounts = view["mounts"]
    # Sources are resolved in the old root and targets in the new one, so that no link leads from one to the other.
    copies = [_copy_mount(mount) if mount["kind"] in ("bind", "device") else -1 for mount in mounts]
    linux.mount("tmpfs", view["root"], "mode=755,size=1m")
    old_root = linux.pivot_root(view["root"])
    for mount, copy in zip(mounts, copies, strict=True):
        _attach(mount, copy)
    linux.detach(old_root)
    for mount in mounts:
        if mount["kind"] == "tmpfs" and not mount["writable"]:
            linux.make_read_only(mount["target"])
    linux.make_read_only("/")


def _copy_mount(mount: dict[str, Any]) -> int:
    attributes = linux.NO_SET_UID
    if mount["kind"] == "bind":
        attributes |= linux.NO_DEVICES
    if not mount["writable"]:
        attributes |= linux.READ_ONLY
    return linux.clone_mount(mount["source"], attributes)


def _attach(mount: dict[str, Any], copy: int) -> None:
    target: str = mount["target"]
    match mount["kind"]:
        case "bind" | "device":
            _make_mount_point(target, folder=stat.S_ISDIR(os.fstat(copy).st_mode))
            linux.attach_mount(copy, target)
        case "tmpfs":
            _make_mount_point(target, folder=True)
            linux.mount("tmpfs", target, f"mode={mount['mode']},size={mount['size']}")
        case "proc":
            _make_mount_point(target, folder=True)
            _mount_proc(target)
        case "file":
            _make_mount_point(target, folder=False)
            with open(target, "w") as file:
                file.write(mount["text"])
        case "link":
            with suppress(OSError):  # it is there already, or below a mount that has its own
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.symlink(mount["text"], target)


def _make_mount_point(path: str, *, folder: bool) -> None:
    """Make an empty folder or file to mount on, unless there is one. Raises OSError below a read-only mount."""
    if os.path.exists(path):
        return
    os.makedirs(path if folder else os.path.dirname(path), exist_ok=True)
    if not folder:
        open(path, "x").close()


def _mount_proc(target: str) -> None:
    """Mount a /proc that shows this namespace's processes, and close what tells or changes anything of the machine."""
    linux.mount("proc", target)
    for path in (f"{target}/{name}" for name in _PROC_READ_ONLY):
        if os.path.exists(path):
            linux.attach_mount(linux.clone_mount(path, linux.READ_ONLY), path)
    for path in (f"{target}/{name}" for name in _PROC_HIDDEN):
        if os.path.isdir(path):
            linux.mount("tmpfs", path, "mode=000,size=4k")
            linux.make_read_only(path)
        elif os.path.exists(path):
            linux.attach_mount(linux.clone_mount("/dev/null", linux.READ_ONLY), path)


def _send_system_v_lists(report: socket.socket) -> None:
    """Send the open lists of the stage's shared memory, queues and semaphores of System V."""
    with suppress(OSError), ExitStack() as stack:  # the kernel may be built without them
        lists = [stack.enter_context(open(path)).fileno() for path in SYSTEM_V]
        socket.send_fds(report, [b"s"], lists)
