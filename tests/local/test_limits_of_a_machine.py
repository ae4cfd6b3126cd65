"""What the laptop does where the machine refuses: full disks, closed groups, unknown system calls, no manifests."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.processes import MIB

from functions.local import cgroup, isolation, linux, stage_log
from functions.local.cgroup import Cgroup
from functions.local.isolation import Isolation
from functions.local.knative_manifests import ManifestError, load
from functions.local.stage_log import CUT, StageLog


def test_a_log_on_a_full_disk_drops_the_rest_and_never_stops_the_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = StageLog(str(tmp_path / "log"), 100)
    log.write(b"before ")
    real = os.write

    def full(descriptor: int, text: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.write(b"lost ")
    monkeypatch.setattr(os, "write", real)
    log.write(b"after")
    assert (tmp_path / "log").read_bytes() == b"before "
    assert log.size == 7


def test_a_log_names_where_it_is_cut_once(tmp_path: Path) -> None:
    log = StageLog(str(tmp_path / "log"), 4)
    for text in (b"abc", b"def", b"ghi"):
        log.write(text)
    assert (tmp_path / "log").read_bytes() == b"abcd" + CUT
    assert log.size == 4 + len(CUT)


def test_a_log_is_not_written_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic link"):
        stage_log.StageLog(str(tmp_path / "log"), 4)
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("name", "text", "killed"),
    [
        ("memory.events", "low 0\noom 3\noom_kill 1\n", True),
        ("memory.events", "low 0\noom 3\noom_kill 0\n", False),
        ("memory.oom_control", "oom_kill_disable 0\nunder_oom 0\noom_kill 2\n", True),
        ("memory.oom_control", "under_oom 0\n", False),
        ("cgroup.procs", "", False),
    ],
)
def test_the_kernel_tells_whether_it_killed_a_process_of_a_group(
    tmp_path: Path, name: str, text: str, killed: bool
) -> None:
    (tmp_path / name).write_text(text)
    assert Cgroup(tmp_path).out_of_memory() is killed


def test_a_group_that_takes_no_limit_is_removed_and_the_next_is_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited: list[Path] = []

    def limit(path: Path, memory: int) -> bool:
        limited.append(path)
        return len(limited) == 2

    parents = [tmp_path / "absent", tmp_path / "refuses", tmp_path / "takes"]
    for parent in parents[1:]:
        parent.mkdir()
    monkeypatch.setattr(cgroup, "_parents", lambda: iter(parents))
    monkeypatch.setattr(cgroup, "_limit", limit)
    made = Cgroup.create(MIB)
    assert made is not None
    assert made.path.parent == parents[2]
    assert list(parents[1].iterdir()) == []


def test_a_limit_that_is_refused_makes_no_group(tmp_path: Path) -> None:
    (tmp_path / "memory.max").mkdir()
    assert not cgroup._limit(tmp_path, MIB)


def test_a_process_that_may_not_join_its_group_goes_on(tmp_path: Path) -> None:
    Cgroup(tmp_path / "absent").join()


def test_a_group_with_a_last_process_is_removed_once_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    group = tmp_path / "group"
    (group / "process").mkdir(parents=True)
    monkeypatch.setattr(time, "sleep", lambda _: (group / "process").rmdir())
    Cgroup(group).remove()
    assert not group.exists()
    Cgroup(group).remove()  # somebody else removed it


def test_a_system_call_without_a_known_number_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(machine="vax"))
    with pytest.raises(OSError, match="keyctl: no number is known for vax"):
        linux.join_new_keyring()


def test_a_refused_system_call_names_the_call_and_the_reason(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"syscall: |umount2: ") as refused:
        linux.clone_mount(str(tmp_path / "absent"), linux.READ_ONLY)
    assert refused.value.errno in (errno.ENOENT, errno.EPERM, errno.ENOSYS)


@pytest.mark.parametrize(("user", "name"), [(0, "the user nobody"), (1000, "you")])
def test_each_level_of_isolation_says_what_algorithms_can_do(
    monkeypatch: pytest.MonkeyPatch, user: int, name: str
) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: user)
    assert Isolation.SANDBOX.text == "sandbox: no network, no other processes, only programs and the job's own files"
    assert Isolation.NETWORK.text.endswith(f"can read what {name} can read")
    assert Isolation.NONE.text.startswith(f"none: algorithms run as {name}, with the network of this machine")


@pytest.mark.parametrize(
    ("works", "best"),
    [
        ({Isolation.SANDBOX, Isolation.NETWORK}, Isolation.SANDBOX),
        ({Isolation.NETWORK}, Isolation.NETWORK),
        (set(), Isolation.NONE),
    ],
)
def test_the_best_level_that_works_is_taken(
    monkeypatch: pytest.MonkeyPatch, works: set[Isolation], best: Isolation
) -> None:
    monkeypatch.setattr(isolation, "_works", lambda level, folder: level in works)
    assert isolation.probe() is best


def test_a_folder_without_manifests_is_named_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=f"no manifests in {tmp_path}; install Sluice again"):
        load(tmp_path)
