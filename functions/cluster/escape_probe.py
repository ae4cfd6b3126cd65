"""The escape probe: tries every known way out of an algorithm's sandbox or Pod, and reports those that are open.

It runs as an algorithm, on a laptop or in a Pod (`sluice doctor --sandbox`). It is carried as text, so it imports the
standard library only. An attempt that succeeds does no harm: it opens files and does not write them.
"""

from __future__ import annotations

import ctypes
import errno
import json
import os
import platform
import resource
import socket
import stat
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

EXIT_CODE_ESCAPED = 3
SECONDS = 2.0  # for each connection
MESSAGE_BYTES = 4096  # Kubernetes keeps no more of a termination message
_ADDRESSES = {"a public address": "1.1.1.1:443", "the cloud's metadata": "169.254.169.254:80"}
_PRIVATE_FOLDERS = ("/home", "/root", "/srv", "/mnt", "/media", "/opt", "/var", "/run", "/boot", "/sys", "/lost+found")
_READ_ONLY = ("/", "/usr", "/usr/bin", "/etc", "/dev", "/data", "/data/inputs", "/data/transformations")
_SOCKETS = (
    "/run/docker.sock", "/var/run/docker.sock", "/run/containerd/containerd.sock", "/run/podman/podman.sock",
    "/run/crio/crio.sock", "/run/dbus/system_bus_socket", "/run/systemd/private", "/run/snapd.socket",
    "/tmp/.X11-unix/X0", "/run/user/0/bus", "/run/user/1000/bus",  # noqa: S108
)  # fmt: skip
_SECRETS = ("KEY", "TOKEN", "PASSWORD", "DATABASE", "ADMIN", "POSTGRES", "CREDENTIAL")
_NEWUSER = 0x1000_0000
# By name: the number on x86_64, the number elsewhere, and arguments. With these, a call that is allowed either succeeds
# or fails for another reason than a missing permission.
_CALLS: dict[str, tuple[int, int, tuple[object, ...]]] = {
    "keyctl": (250, 219, (0, -3, 1)),
    "add_key": (248, 217, (b"user", b"sluice", b"x", 1, -1)),
    "request_key": (249, 218, (b"user", b"sluice", None, 0)),
    "bpf": (321, 280, (0, bytes(64), 64)),
    "perf_event_open": (298, 241, (struct.pack("II", 1, 64) + bytes(56), 0, -1, -1, 0)),
    "userfaultfd": (323, 282, (1,)),
    "io_uring_setup": (425, 425, (1, ctypes.create_string_buffer(120))),
    "process_vm_readv": (310, 270, (os.getppid(), None, 0, None, 0, 0)),
    "kcmp": (312, 272, (os.getpid(), os.getpid(), 0, 0, 0)),
    "mount": (165, 40, (b"none", b"/tmp", b"no-such-kind", 0, None)),
    "umount": (166, 39, (b"/tmp", 0xFFFF)),
    "pivot_root": (155, 41, (b"/tmp", b"/tmp")),
    "chroot": (161, 51, (b"/no-such-folder",)),
    "fsopen": (430, 430, (b"tmpfs", 0)),
    "open_tree": (428, 428, (-100, b"/", 1)),
    "mount_setattr": (442, 442, (-100, b"/", 0, bytes(32), 32)),
    "unshare": (272, 97, (_NEWUSER,)),
    "setns": (308, 268, (-1, 0)),
    "init_module": (175, 105, (b"", 0, b"")),
    "finit_module": (313, 273, (-1, b"", 0)),
    "kexec_load": (246, 104, (0, 0, None, 0)),
    "open_by_handle_at": (304, 265, (-100, bytes(16), 0)),
    "fanotify_init": (300, 262, (0x200, 0)),
    "sethostname": (170, 161, (b"sluice", -1)),
    "syslog": (103, 116, (10, None, 0)),
    "reboot": (169, 142, (0, 0, 0)),
}
_FAMILIES = {
    "AF_PACKET": (17, socket.SOCK_DGRAM, 0),
    "AF_VSOCK": (40, socket.SOCK_STREAM, 0),
    "AF_ALG": (38, socket.SOCK_SEQPACKET, 0),
    "AF_TIPC": (30, socket.SOCK_DGRAM, 0),
    "AF_BLUETOOTH": (31, socket.SOCK_RAW, 1),
    "AF_CAN": (29, socket.SOCK_RAW, 1),
    "AF_KEY": (15, socket.SOCK_RAW, 2),
    "a netlink of netfilter": (16, socket.SOCK_RAW, 12),
    "a netlink of device events": (16, socket.SOCK_RAW, 15),
    "a raw IP socket": (socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP),
}

Attempt = Callable[[], object]
_libc = ctypes.CDLL(None, use_errno=True)


def attempts(environ: dict[str, str], bait: dict[str, str]) -> Iterator[tuple[str, Attempt]]:
    """The attempts by name. Each raises OSError if the way is closed. `bait`: given on a laptop only."""
    yield from ((f"system call {name}", partial(call, *found)) for name, found in _CALLS.items())
    yield "a user namespace by clone", clone_into_namespace
    yield "tracing a process", trace
    yield from ((f"socket {name}", partial(open_socket, *kind)) for name, kind in _FAMILIES.items())
    yield "becoming root", partial(os.setuid, 0)
    yield "a capability", has_capability
    yield "new privileges by set-uid programs", partial(closed_if, dict(_status()).get("NoNewPrivs", "1") == "1")
    yield "system calls without a filter", partial(closed_if, dict(_status()).get("Seccomp", "2") == "2")
    yield "a writable sysctl", partial(find_writable, "/proc/sys")
    yield "a writable file in /sys", partial(find_writable, "/sys")
    yield "sysrq", partial(open_for_writing, "/proc/sysrq-trigger")
    yield from ((f"device {name}", partial(read, f"/dev/{name}")) for name in ("mem", "kmsg", "port", "fuse", "kvm"))
    yield "the kernel's memory", partial(read, "/proc/kcore")
    yield "a disk", open_block_device
    yield "a device node", make_device
    yield "/etc/shadow", partial(read, "/etc/shadow")
    yield "another process", find_foreign_process
    for folder in (*_READ_ONLY, sys.prefix):
        yield f"a new file in {folder}", partial(write_in, folder)
    yield "the admin logs", partial(os.listdir, "/data/adminlogs")
    yield from ((f"the socket {path}", partial(connect_local, path)) for path in _SOCKETS)
    yield from ((f"{name} ({place})", partial(connect, place)) for name, place in _ADDRESSES.items())
    yield "a public name", partial(socket.getaddrinfo, "example.com.", 443)
    yield "a secret in the environment", partial(find_secret, environ)
    if bait:
        yield from attempts_on_laptop(bait)


def attempts_on_laptop(bait: dict[str, str]) -> Iterator[tuple[str, Attempt]]:
    """The attempts for a laptop alone. In a Pod they would find the folders of its own image, or no bait."""
    yield from ((f"the folder {path}", partial(list_private, path)) for path in _PRIVATE_FOLDERS)
    yield "the first process's files", partial(os.listdir, "/proc/1/fd")
    yield "the first process's environment", partial(read, "/proc/1/environ")
    yield "the first process's root", partial(os.listdir, "/proc/1/root")
    yield "the kernel's keys", partial(read, "/proc/keys")
    yield "a core dump", partial(closed_if, resource.getrlimit(resource.RLIMIT_CORE) == (1, 1))
    yield "the name of the machine", partial(closed_if, socket.gethostname() != bait["host_name"])
    yield "a file of the machine", partial(read, bait["file"])
    yield "a shared memory of the machine", partial(read, bait["shared_memory"])
    yield "a socket of the machine", partial(connect_local, bait["socket"])
    yield "an abstract socket of the machine", partial(connect_local, "\0" + bait["abstract_socket"])
    yield "a server on the machine's loopback", partial(connect, bait["address"])


def call(number: int, generic: int, arguments: tuple[object, ...]) -> None:
    """Make a system call in a child. It is closed if permission is refused, or if it does not exist."""
    pid = os.fork()
    if pid == 0:
        result = _libc.syscall(number if platform.machine() == "x86_64" else generic, *arguments)
        os._exit(result == -1 and ctypes.get_errno() in (errno.EPERM, errno.EACCES, errno.ENOSYS))
    _expect_success(pid)


def clone_into_namespace() -> None:
    """Clone this process, which has one thread: the child cannot take a lock that another thread held."""
    clone = 56 if platform.machine() == "x86_64" else 220
    pid = _libc.syscall(clone, _NEWUSER | 17, None, None, None, None)
    if pid == 0:
        os._exit(0)
    if pid < 0:
        raise OSError(ctypes.get_errno(), "refused")
    os.waitpid(pid, 0)


def trace() -> None:
    """Let a child be traced by this process."""
    pid = os.fork()
    if pid == 0:
        os._exit(_libc.ptrace(0, 0, None, None) != 0)
    _expect_success(pid)


def _expect_success(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    if status:
        raise PermissionError("refused")


def open_socket(family: int, kind: int, protocol: int) -> None:
    socket.socket(family, kind, protocol).close()


def has_capability() -> None:
    if not any(int(value, 16) for name, value in _status() if name.startswith("Cap") and name != "CapBnd"):
        raise PermissionError("none")


def closed_if(fact: bool) -> None:
    if fact:
        raise PermissionError("closed")


def find_writable(folder: str) -> str:
    for path, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                open_for_writing(os.path.join(path, name))
                return name
    raise PermissionError("none")


def open_for_writing(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_NONBLOCK))


def read(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not os.read(descriptor, 1):
            raise FileNotFoundError("empty")
    finally:
        os.close(descriptor)


def open_block_device() -> None:
    for entry in os.scandir("/dev"):
        if stat.S_ISBLK(os.lstat(entry.path).st_mode):
            with suppress(OSError):
                os.close(os.open(entry.path, os.O_RDONLY | os.O_NONBLOCK))
                return
    raise FileNotFoundError("none")


def make_device() -> None:
    path = f"{os.environ.get('TMPDIR', '/tmp')}/probe-device"  # noqa: S108
    os.mknod(path, stat.S_IFCHR | 0o600, os.makedev(1, 1))
    os.unlink(path)


def find_foreign_process() -> str:
    """A process that is neither this one nor above it."""
    ours = set()
    pid = os.getpid()
    while pid:
        ours.add(pid)
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) not in ours | {1}:
            return name
    raise ProcessLookupError("none")


def write_in(folder: str) -> None:
    path = f"{folder}/.sluice-probe"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL))
    os.unlink(path)


def list_private(path: str) -> None:
    """Open if the folder holds any file. Folders that only lead to a program folder do not count."""
    programs = [os.path.realpath(folder) for folder in os.environ["PATH"].split(os.pathsep)]
    programs += [sys.prefix, sys.base_prefix, *(os.path.dirname(folder) for folder in programs)]
    for folder, names, files in os.walk(path):
        if any(f"{folder}/".startswith(f"{program}/") for program in programs):
            names.clear()
        elif files:
            return
    raise FileNotFoundError("nothing there")


def connect_local(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(SECONDS)
        client.connect(path)


def connect(place: str) -> None:
    address, _, port = place.rpartition(":")
    socket.create_connection((address, int(port)), SECONDS).close()


def find_secret(environ: dict[str, str]) -> str:
    for name in environ:
        if any(word in name.upper() for word in _SECRETS):
            return name
    raise KeyError("none")


def _status() -> Iterator[tuple[str, str]]:
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        yield name, value.strip()


def probe(found: Iterator[tuple[str, Attempt]]) -> dict[str, list[str]]:
    """Make the attempts, one after the other; the report."""
    tried, reached = [], []
    for name, attempt in found:
        tried.append(name)
        try:
            attempt()
        except (OSError, KeyError):
            continue
        reached.append(name)
    return {"tried": tried, "reached": reached, "still_reached": reached}


def main() -> None:
    bait = json.loads(sys.argv[1]) if len(sys.argv) > 1 else {}
    report = probe(attempts(dict(os.environ), bait))
    text = json.dumps(report)
    print(text)  # noqa: T201 - the log is its output
    if len(text) > MESSAGE_BYTES:
        text = json.dumps({**report, "tried": [f"{len(report['tried'])} ways out"]})
    with suppress(OSError), open("/dev/termination-log", "w") as file:
        file.write(text)
    sys.exit(EXIT_CODE_ESCAPED if report["reached"] else 0)


if __name__ == "__main__":
    main()
