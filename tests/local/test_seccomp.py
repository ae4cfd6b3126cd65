"""The seccomp filter, run by an interpreter of its instructions: on each machine, which calls pass and which do not."""

from __future__ import annotations

import errno
import socket
import struct

import pytest

from functions.local import seccomp

ALLOW, KILL = "allow", "kill"
ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "riscv64": 0xC00000F3}
MACHINES = list(ARCHITECTURES)
COMMON = {"x86_64": 0, "aarch64": 1, "riscv64": 1}


def decide(machine: str, number: int, *arguments: int, architecture: int | None = None) -> int | str:
    """What the filter says: `allow`, `kill`, or the number of an error."""
    found = ARCHITECTURES[machine] if architecture is None else architecture
    data = struct.pack("<IIQ6Q", number, found, 0, *arguments, *[0] * (6 - len(arguments)))
    program = seccomp.program(machine)
    code = [struct.unpack_from("HBBI", program, offset) for offset in range(0, len(program), 8)]
    loaded = position = 0
    while True:
        operation, if_true, if_false, operand = code[position]
        match operation:
            case 0x06:
                names = {0x7FFF0000: ALLOW, 0x80000000: KILL}
                return names.get(operand, int(operand) & 0xFFFF)
            case 0x20:
                (loaded,) = struct.unpack_from("<I", data, operand)
                position += 1
                continue
            case 0x15:
                true = loaded == operand
            case 0x25:
                true = loaded > operand
            case 0x45:
                true = bool(loaded & operand)
            case _:
                raise AssertionError(f"operation {operation:#x}")
        position += 1 + (if_true if true else if_false)


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", list(seccomp.REFUSED))
def test_a_refused_call_is_not_permitted(machine: str, name: str) -> None:
    number = seccomp.REFUSED[name][COMMON[machine]]
    if number is not None:
        assert decide(machine, number) == errno.EPERM


@pytest.mark.parametrize(
    ("machine", "numbers"),
    [
        ("x86_64", {"read": 0, "execve": 59, "futex": 202, "openat": 257, "prctl": 157, "memfd_create": 319}),
        ("aarch64", {"read": 63, "execve": 221, "futex": 98, "openat": 56, "prctl": 167, "memfd_create": 279}),
    ],
)
def test_usual_calls_pass(machine: str, numbers: dict[str, int]) -> None:
    assert {name: decide(machine, number) for name, number in numbers.items()} == dict.fromkeys(numbers, ALLOW)


@pytest.mark.parametrize("machine", MACHINES)
def test_a_call_that_is_newer_than_the_list_does_not_exist(machine: str) -> None:
    assert decide(machine, seccomp.NEWEST + 1) == errno.ENOSYS
    assert decide(machine, 0x40000000) == errno.ENOSYS  # x32
    assert decide(machine, 435) == errno.ENOSYS  # clone3


@pytest.mark.parametrize("machine", MACHINES)
def test_another_architectures_calls_kill(machine: str) -> None:
    assert decide(machine, 0, architecture=0x40000003) == KILL  # 32 bits


@pytest.mark.parametrize("machine", MACHINES)
def test_clone_may_start_threads_and_processes_and_no_namespaces(machine: str) -> None:
    clone = {"x86_64": 56}.get(machine, 220)
    assert decide(machine, clone, 0x3D0F00) == ALLOW  # a thread
    assert decide(machine, clone, 17) == ALLOW  # a process
    for bit in (0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000):
        assert decide(machine, clone, bit | 17) == errno.EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_no_thread_gets_open_files_of_its_own(machine: str) -> None:
    """The supervisor counts the files of a process, not those of each of its threads."""
    clone, close_range = {"x86_64": 56}.get(machine, 220), 436
    assert decide(machine, clone, 0x3D0B00) == errno.EPERM  # a thread without CLONE_FILES
    assert [decide(machine, close_range, 3, 99, flags) for flags in (0, 4, 2, 6)] == [ALLOW, ALLOW, *[errno.EPERM] * 2]


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("call", [(41, 198), (53, 199)], ids=["socket", "socketpair"])
def test_sockets_are_local_tcp_udp_or_ping(machine: str, call: tuple[int, int]) -> None:
    number = call[COMMON[machine]]
    for family in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
        for protocol in (0, 6, 17):
            assert decide(machine, number, family, 1, protocol) == ALLOW
        assert decide(machine, number, family, 1, 132) == errno.EPROTONOSUPPORT  # SCTP
    assert decide(machine, number, 16, 3, 0) == ALLOW  # a netlink for routes
    assert decide(machine, number, 16, 3, 12) == errno.EPROTONOSUPPORT  # a netlink for netfilter
    for rare in (17, 29, 30, 31, 38, 40):
        assert decide(machine, number, rare, 1, 0) == errno.EAFNOSUPPORT


@pytest.mark.parametrize("machine", MACHINES)
def test_nothing_can_be_typed_into_a_terminal(machine: str) -> None:
    ioctl = {"x86_64": 16}.get(machine, 29)
    assert decide(machine, ioctl, 0, 0x5412) == errno.EPERM
    assert decide(machine, ioctl, 0, 0x5401) == ALLOW


def test_a_machine_without_numbers_is_refused() -> None:
    with pytest.raises(OSError, match="sparc"):
        seccomp.program("sparc")
