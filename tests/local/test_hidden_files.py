"""What a program keeps where no folder and no process shows it counts towards its limits too.

As an ordinary user, since root's stages have a cgroup that counts all memory.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
from collections.abc import Callable

import pytest
from support.job_runner import JobRunner

from functions.local import usage

pytestmark = pytest.mark.xdist_group("sandbox")
Runners = Callable[[str, str], JobRunner]

# The supervisor looks into processes from outside. Each of these keeps more than its limit where that is hard to see.
HIDING = """
import ctypes, mmap, os, socket, tempfile, threading, time
libc, block = ctypes.CDLL(None), bytes(1 << 20)
def filled(file):
    for _ in range(4):
        file.write(block)
    file.flush()
    return file
def on_disk():
    return filled(tempfile.TemporaryFile())
def in_memory():
    return filled(open(os.memfd_create("x"), "wb"))
def without_main_thread(work):
    threading.Thread(target=lambda: (work(), time.sleep(60))).start()
    libc.syscall(EXIT, 0)
def send(make):
    for _ in range(8):
        with make() as file:
            socket.send_fds(left, [b"x"], [file.fileno()])
left, right = socket.socketpair()
kept = []
""".replace("EXIT", "60" if os.uname().machine == "x86_64" else "93")
HIDDEN = {
    "memory of a thread that outlives the main thread": (
        "without_main_thread(lambda: kept.extend(bytearray(block) for _ in range(80)))",
        "OOMKilled",
    ),
    "files of a thread that outlives the main thread": (
        "without_main_thread(lambda: kept.extend(on_disk() for _ in range(8)))",
        "DiskExceeded",
    ),
    "files that wait in a socket": ("send(on_disk)", "DiskExceeded"),
    "files in memory that wait in a socket": ("[send(in_memory) for _ in range(3)]", "OOMKilled"),
    "files of which one page is mapped": (
        "for _ in range(8):\n"
        "  with on_disk() as file: kept.append(mmap.mmap(file.fileno(), 4096))\n"
        "  os.closerange(5, 99)",
        "DiskExceeded",
    ),
    "files of a process that lets nobody examine it": (
        "libc.prctl(4, 0, 0, 0, 0); kept.extend(on_disk() for _ in range(8))",
        "DiskExceeded",
    ),
    "segments of System V": (
        "libc.shmat.restype = ctypes.c_void_p\n"
        "for _ in range(100):\n"
        "  at = ctypes.c_void_p(libc.shmat(libc.shmget(0, 1 << 20, 0o1600), None, 0))\n"
        "  ctypes.memset(at, 1, 1 << 20); libc.shmdt(at)",
        "OOMKilled",
    ),
    "page tables of empty memory": (
        "kept.append(mmap.mmap(-1, 96 << 30, flags=0x4022, prot=1)); kept[0].madvise(15)\n"
        "for at in range(0, 96 << 30, 2 << 20):\n  kept[0][at]; time.sleep(at % (1 << 30) == 0 and 0.01)",
        "OOMKilled",
    ),
    "queues of System V": (
        "for _ in range(10000):\n  libc.msgsnd(libc.msgget(0, 0o1600), bytes([1]) + bytes(8191), 8184, 0)",
        "OOMKilled",
    ),
}


@pytest.mark.parametrize("name", HIDDEN)
def test_what_a_program_hides_counts_towards_its_limits(runners: Runners, name: str) -> None:
    code, reason = HIDDEN[name]
    source = shlex.quote(f"exec({HIDING + code + chr(10) + 'time.sleep(60)'!r})")
    assert runners("sandbox", "user").run(f"exec python3 -c {source}", memory=64 << 20, disk=16 << 20).reason == reason


def test_huge_pages_and_asynchronous_io_neither_take_disk_nor_hide_files() -> None:
    """The kernel shows both as mappings of a deleted file."""
    io_setup = 206 if os.uname().machine == "x86_64" else 0
    source = (
        "import ctypes, mmap\n"
        f"ctypes.CDLL(None).syscall({io_setup}, 128, ctypes.byref(ctypes.c_long()))\n"
        "kept = mmap.mmap(-1, 64 << 20, flags=0x44022)  # MAP_HUGETLB, and MAP_NORESERVE: from an empty pool\n"
        "print(open('/proc/self/maps').read().count('(deleted)'), flush=True); input()"
    )
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(["python3", "-c", source], **pipes) as process:  # type: ignore[call-overload]
        assert process.stdout.readline() == b"2\n"
        assert usage.open_files([f"/proc/{process.pid}"]) == usage.OpenFiles({}, {})
        process.communicate(b"\n")


@pytest.mark.parametrize("isolation", ["network", "none"])
def test_a_program_without_a_sandbox_may_make_its_outputs_folder_anew(runners: Runners, isolation: str) -> None:
    """The free space of the folder is measured while it is away."""
    ended = runners(isolation, "user").run('rmdir "$OUTPUTS"; sleep 2; mkdir "$OUTPUTS"', disk=16 << 20)
    assert (ended.outcome, ended.reason) == ("succeeded", "")


def test_what_others_write_does_not_count_for_a_program_that_hides_nothing(runners: Runners) -> None:
    runner, ended = runners("sandbox", "user"), threading.Event()

    def write() -> None:
        with (runner.folder / "other").open("wb") as file:
            while not ended.wait(0.1) and file.tell() < 256 << 20:
                file.write(bytes(4 << 20))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert runner.run("exec sleep 4", disk=16 << 20).outcome == "succeeded"
    finally:
        ended.set()
        writer.join()
        (runner.folder / "other").unlink()


def test_each_row_of_a_long_list_of_system_v_counts_and_a_torn_one_does_not() -> None:
    """The kernel returns one page at a time, and a list may change between two of them."""
    row = " ".join(["9"] * 4 + ["2"] + ["9"] * 9)
    table = os.memfd_create("msg")
    os.write(table, f"heading\n{(row + chr(10)) * 9000}9 9 9\n".encode())
    assert usage.shared_memory([], [os.memfd_create("shm"), table]).used == 9000 * (9 + 2 * 64)


def test_the_names_of_files_in_dev_shm_count(runners: Runners) -> None:
    """An empty file takes the kernel's memory."""
    code = "import os, time; [os.close(os.open(f'/dev/shm/{n}', os.O_CREAT)) for n in range(200000)]; time.sleep(60)"
    assert runners("sandbox", "user").run(f'exec python3 -c "{code}"', memory=64 << 20).reason == "OOMKilled"
