"""The system calls that no algorithm may make, as a seccomp filter. Only the standard library.

The filter is a list of refusals, as in the sandboxes of desktop programs: it closes what reaches beyond the
process (kernel keys, BPF, mounts, namespaces, other processes' memory, modules, rare socket families) and every system
call that is newer than the list. `program` compiles the list to BPF; no library is needed where the supervisor runs.
"""

from __future__ import annotations

import errno
import socket
import struct

# Names with their numbers: on x86_64, and in the kernel's generic table (aarch64, riscv64).
REFUSED = {
    "acct": (163, 89),
    "add_key": (248, 217),
    "bpf": (321, 280),
    "chroot": (161, 51),
    "clock_settime": (227, 112),
    "delete_module": (176, 106),
    "fanotify_init": (300, 262),
    "finit_module": (313, 273),
    "fsconfig": (431, 431),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "ioperm": (173, None),
    "iopl": (172, None),
    "kcmp": (312, 272),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "lookup_dcookie": (212, 18),
    "memfd_secret": (447, 447),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "nfsservctl": (180, 42),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "open_tree_attr": (467, 467),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "quotactl_fd": (443, 443),
    "reboot": (169, 142),
    "request_key": (249, 218),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "settimeofday": (164, 170),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "sysfs": (139, None),
    "_sysctl": (156, None),
    "syslog": (103, 116),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "uselib": (134, None),
    "userfaultfd": (323, 282),
    "ustat": (136, None),
    "vhangup": (153, 58),
}
# These are refused by their arguments.
_CLONE, _SOCKET, _SOCKETPAIR, _IOCTL = (56, 220), (41, 198), (53, 199), (16, 29)
# The C library falls back to `clone`, whose flags a filter can see.
_CLONE3 = 435
_CLOSE_RANGE = 436
_UNSHARE_FILES = 2  # its flag: the thread gets a table of open files of its own
NEWEST = 469  # file_setattr; a newer system call was not examined
_CLONE_NEW_NAMESPACES = 0x7E02_0000
_CLONE_FILES, _CLONE_THREAD = 0x400, 0x1_0000
_AF_NETLINK = 16
_FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6)
_PROTOCOLS = (0, socket.IPPROTO_ICMP, socket.IPPROTO_TCP, socket.IPPROTO_UDP, socket.IPPROTO_ICMPV6)
_TIOCSTI, _TIOCLINUX = 0x5412, 0x541C  # type into the terminal, as if its user did

# By machine: the audit number of its architecture, the column of its system call numbers.
_MACHINES = {"x86_64": (0xC000_003E, 0), "aarch64": (0xC000_00B7, 1), "riscv64": (0xC000_00F3, 1)}

_LOAD, _JUMP_EQUAL, _JUMP_GREATER, _JUMP_ANY_BIT, _RETURN = 0x20, 0x15, 0x25, 0x45, 0x06
_NUMBER_OFFSET, _ARCHITECTURE_OFFSET = 0, 4
_ALLOW, _REFUSE, _KILL_PROCESS = 0x7FFF_0000, 0x0005_0000, 0x8000_0000

Code = list[tuple[int, int, int, int]]  # operation, jump if true, jump if false, operand


def program(machine: str) -> bytes:
    """Compile the filter for a machine (`os.uname().machine`). Raises OSError if its numbers are not known."""
    if machine not in _MACHINES:
        raise OSError(f"no seccomp filter is known for {machine}")
    architecture, column = _MACHINES[machine]
    code: Code = [
        (_LOAD, 0, 0, _ARCHITECTURE_OFFSET),
        # Another architecture's calls (32 bits on x86_64) have other numbers.
        *_unless(_JUMP_EQUAL, architecture, [_return(_KILL_PROCESS)]),
        (_LOAD, 0, 0, _NUMBER_OFFSET),
        *_if(_JUMP_GREATER, NEWEST, [_return(_REFUSE | errno.ENOSYS)]),
        *_if(_JUMP_EQUAL, _CLONE3, [_return(_REFUSE | errno.ENOSYS)]),
    ]
    for numbers in REFUSED.values():
        if (number := numbers[column]) is not None:
            code += _if(_JUMP_EQUAL, number, [_return(_REFUSE | errno.EPERM)])
    code += _if(_JUMP_EQUAL, _CLONE[column], _clone())
    code += _if(_JUMP_EQUAL, _CLOSE_RANGE, _close_range())
    code += _if(_JUMP_EQUAL, _IOCTL[column], _ioctl())
    for numbers in (_SOCKET, _SOCKETPAIR):
        code += _if(_JUMP_EQUAL, numbers[column], _socket())
    code.append(_return(_ALLOW))
    return b"".join(struct.pack("HBBI", *instruction) for instruction in code)


def _clone() -> Code:
    """Refuse namespaces, and threads whose open files the supervisor would not find."""
    refuse = [_return(_REFUSE | errno.EPERM)]
    thread = _unless(_JUMP_ANY_BIT, _CLONE_FILES, refuse)
    return [
        _load_argument(0),
        *_if(_JUMP_ANY_BIT, _CLONE_NEW_NAMESPACES, refuse),
        *_if(_JUMP_ANY_BIT, _CLONE_THREAD, thread),
        _return(_ALLOW),
    ]


def _close_range() -> Code:
    """Refuse to copy the table of open files: the supervisor would not find the thread's."""
    return [
        _load_argument(2),
        *_if(_JUMP_ANY_BIT, _UNSHARE_FILES, [_return(_REFUSE | errno.EPERM)]),
        _return(_ALLOW),
    ]


def _ioctl() -> Code:
    code = [_load_argument(1)]
    for request in (_TIOCSTI, _TIOCLINUX):
        code += _if(_JUMP_EQUAL, request, [_return(_REFUSE | errno.EPERM)])
    return [*code, _return(_ALLOW)]


def _socket() -> Code:
    """Allow local sockets, TCP, UDP and ping, and the netlink that lists interfaces."""
    protocols = [_load_argument(2)]
    for protocol in _PROTOCOLS:
        protocols += _if(_JUMP_EQUAL, protocol, [_return(_ALLOW)])
    protocols.append(_return(_REFUSE | errno.EPROTONOSUPPORT))
    routes = [_load_argument(2), *_if(_JUMP_EQUAL, 0, [_return(_ALLOW)]), _return(_REFUSE | errno.EPROTONOSUPPORT)]
    code = [_load_argument(0)]
    for family in _FAMILIES:
        code += _if(_JUMP_EQUAL, family, protocols)
    code += _if(_JUMP_EQUAL, _AF_NETLINK, routes)
    return [*code, _return(_REFUSE | errno.EAFNOSUPPORT)]


def _if(test: int, operand: int, then: Code) -> Code:
    """Run `then` if the loaded value passes the test, and what follows otherwise."""
    return [(test, 0, len(then), operand), *then]


def _unless(test: int, operand: int, then: Code) -> Code:
    """Run `then` unless the loaded value passes the test, and what follows otherwise."""
    return [(test, len(then), 0, operand), *then]


def _return(action: int) -> tuple[int, int, int, int]:
    return (_RETURN, 0, 0, action)


def _load_argument(number: int) -> tuple[int, int, int, int]:
    """Load the low 32 bits of an argument; all our machines are little-endian."""
    return (_LOAD, 0, 0, 16 + 8 * number)
