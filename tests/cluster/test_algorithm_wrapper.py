"""The script that runs the algorithm: it keeps the exit code and the log, and it does not hang."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

import functions.cluster.kubernetes

SCRIPT = Path(functions.cluster.kubernetes.__file__).with_name("algorithm.sh").read_text()
SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}


@dataclass
class Ended:
    code: int
    printed: bytes  # the container's log
    kept: bytes  # algorithm.log


@pytest.fixture(
    params=[pytest.param(s, marks=pytest.mark.skipif(not shutil.which(s), reason=f"no {s}")) for s in SHELLS]
)
def start(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[..., subprocess.Popen[bytes]]:
    def start(entrypoint: str, cap: int = 1000) -> subprocess.Popen[bytes]:
        env = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
        env |= {"OUTPUTS": str(tmp_path / "outputs"), "LOGS": str(tmp_path / "logs")}
        command = [*SHELLS[request.param], "-c", SCRIPT, "algorithm", entrypoint, str(cap)]
        return subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)

    return start


@pytest.fixture
def run(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> Callable[..., Ended]:
    def run(entrypoint: str, cap: int = 1000) -> Ended:
        process = start(entrypoint, cap)
        printed, _ = process.communicate(timeout=30)
        return Ended(process.returncode, printed, (tmp_path / "logs" / "algorithm.log").read_bytes())

    return run


def test_the_exit_code_is_the_algorithms_own(run: Callable[..., Ended]) -> None:
    assert run("exit 3").code == 3


def test_exit_code_zero_stays_zero(run: Callable[..., Ended]) -> None:
    assert run("true").code == 0


def test_stdout_and_stderr_are_kept_and_shown(run: Callable[..., Ended]) -> None:
    ended = run("echo out; echo err >&2")
    assert (ended.printed, ended.kept) == (b"out\nerr\n", b"out\nerr\n")


def test_a_huge_log_is_cut_and_does_not_stop_the_algorithm(run: Callable[..., Ended]) -> None:
    ended = run("head -c 5000000 /dev/zero; exit 4", 1000)
    assert (ended.code, len(ended.printed), len(ended.kept)) == (4, 5_000_000, 1000)


def test_a_full_disk_does_not_stop_the_algorithm(start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "algorithm.log").symlink_to("/dev/full")
    process = start("head -c 3000000 /dev/zero; exit 5")
    process.communicate(timeout=30)
    assert process.returncode == 5


def test_the_folders_of_outputs_and_logs_exist_when_the_algorithm_starts(run: Callable[..., Ended]) -> None:
    assert run('test -d "$OUTPUTS" && test -d "$LOGS"').code == 0


def test_the_log_of_a_filter_goes_to_the_given_file(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path)}
    env |= {"OUTPUTS": str(tmp_path / "outputs"), "LOGS": str(tmp_path / "logs")}
    log = tmp_path / "own" / "filter.log"
    command = ["sh", "-c", SCRIPT, "filter", "echo refused; exit 1", "1000", str(log)]
    assert subprocess.run(command, env=env, capture_output=True, check=False).returncode == 1
    assert log.read_bytes() == b"refused\n"
    assert not (tmp_path / "logs" / "algorithm.log").exists()


def test_a_process_left_behind_does_not_delay_the_end_of_the_stage(run: Callable[..., Ended]) -> None:
    ended = run("sleep 20 & echo left; exit 6")
    assert (ended.code, ended.kept) == (6, b"left\n")


def test_nothing_stays_in_the_scratch_folder(run: Callable[..., Ended], tmp_path: Path) -> None:
    run("true")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["logs", "outputs"]


def test_the_algorithm_gets_sigterm_and_its_exit_code_counts(
    start: Callable[..., subprocess.Popen[bytes]], tmp_path: Path
) -> None:
    process = start(f"trap 'echo bye; exit 7' TERM; : >{tmp_path}/ready; while :; do sleep 0.05; done")
    wait_for(tmp_path / "ready")
    process.send_signal(signal.SIGTERM)
    printed, _ = process.communicate(timeout=30)
    assert (process.returncode, printed) == (7, b"bye\n")


def test_a_program_killed_by_a_signal_has_the_shells_exit_code_for_it(run: Callable[..., Ended]) -> None:
    assert run("kill -9 $$").code == 128 + signal.SIGKILL


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)
