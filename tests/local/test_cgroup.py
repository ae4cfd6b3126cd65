"""The control group of a stage: where it may be made, what it limits, and that it is removed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.processes import MIB

from functions.local import cgroup
from functions.local.cgroup import Cgroup


@pytest.fixture
def mount(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder in place of /sys/fs/cgroup."""
    monkeypatch.setattr(cgroup, "_MOUNT", tmp_path)
    return tmp_path


def version_2(mount: Path, controllers: dict[str, str]) -> None:
    """Groups with the controllers that they pass to their children."""
    (mount / "cgroup.controllers").write_text("memory pids")
    for path, passed in controllers.items():
        (mount / path).mkdir(parents=True, exist_ok=True)
        (mount / path / "cgroup.subtree_control").write_text(passed)
        (mount / path / "cgroup.procs").touch()


def in_group(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    real = Path.read_text
    monkeypatch.setattr(
        Path, "read_text", lambda path, *a: text if str(path) == "/proc/self/cgroup" else real(path, *a)
    )


def test_version_2_uses_the_nearest_group_that_limits_memory(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    version_2(mount, {"": "memory", "user": "memory pids", "user/app": "pids", "user/app/shell": ""})
    in_group(monkeypatch, "0::/user/app/shell\n")
    assert list(cgroup._parents()) == [mount / "user", mount]


def test_version_1_uses_the_process_own_group(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (mount / "memory" / "own").mkdir(parents=True)
    in_group(monkeypatch, "5:cpu,cpuacct:/x\n4:memory:/own\n0::/\n")
    assert list(cgroup._parents()) == [mount / "memory" / "own"]


def test_without_a_group_there_is_none(mount: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    in_group(monkeypatch, "0::/\n")
    assert Cgroup.create(MIB) is None


def test_groups_of_dead_supervisors_are_removed_and_those_of_living_ones_stay(
    mount: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version_2(mount, {"": "memory"})
    in_group(monkeypatch, "0::/\n")
    dead, living = mount / "sluice-999999999", mount / f"sluice-{os.getpid()}"
    dead.mkdir()
    living.mkdir()
    cgroup.remove_stale()
    assert [path.exists() for path in (dead, living)] == [False, True]


EATER = """
import sys
sys.path.append(sys.argv[1])
from functions.local.cgroup import Cgroup
import os, signal
group = Cgroup.create(64 << 20)
child = os.fork()
if child == 0:
    group.join()
    f = open(os.memfd_create("x"), "wb")
    for n in range(200):
        f.write(bytes(1 << 20))
    os._exit(0)
_, status = os.waitpid(child, 0)
print(os.waitstatus_to_exitcode(status), group.out_of_memory())
group.remove()
print(group.path.exists())
"""


def test_the_kernel_ends_a_process_that_exceeds_the_memory_of_its_group() -> None:
    made = Cgroup.create(64 * MIB)
    if made is None:
        pytest.skip("this user may make no control group here")
    made.remove()
    root = str(Path(__file__).parents[2])
    assert subprocess.check_output([sys.executable, "-c", EATER, root], text=True).split() == ["-9", "True", "False"]
