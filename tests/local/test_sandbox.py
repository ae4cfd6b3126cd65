"""What an algorithm can see, change and reach on a laptop: at each level of isolation, under root and an ordinary user.

docs/laptop.md has a table of these promises.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from support.job_runner import Ended, JobRunner
from support.laptop import until
from support.processes import ProcessDriver, read_log, run_to_end, shell_job, volume

from functions.local.isolation import Isolation
from functions.local.program_environment import ROOT
from functions.local.sandbox_check import SandboxReport

pytestmark = pytest.mark.xdist_group("sandbox")
LEVELS = ("sandbox", "network", "none")
USERS = ("root", "user")
Runners = Callable[[str, str], JobRunner]

# Ways out that a level leaves open, by the beginnings of their names; the rest is closed at every level.
MACHINE = (
    "a writable sysctl", "another process", "the folder ", "the kernel's keys", "a file of the machine",
    "a shared memory of the machine", "a socket of the machine", "the socket ", "the first process", "device ",
    "a new file in /usr", "sysrq", "the name of the machine",
)  # fmt: skip
NETWORK = (
    "a public ", "the cloud's metadata", "an abstract socket of the machine", "a server on the machine's loopback",
)  # fmt: skip
LEFT_OPEN = {"sandbox": (), "network": MACHINE, "none": MACHINE + NETWORK}


@pytest.fixture(scope="module", params=[(level, user) for level in LEVELS for user in USERS], ids=" as ".join)
def place(request: pytest.FixtureRequest, runners: Runners) -> tuple[str, JobRunner]:
    """A level of isolation, and what runs Jobs at it."""
    level, user = request.param
    return level, runners(level, user)


@pytest.fixture(params=USERS)
def sandbox(request: pytest.FixtureRequest, runners: Runners) -> JobRunner:
    return runners("sandbox", request.param)


@cache
def report(runner: JobRunner) -> SandboxReport:
    return runner.check()


# --- at every level -------------------------------------------------------------------------


def test_no_way_out_is_open_but_those_that_the_level_names(place: tuple[str, JobRunner]) -> None:
    level, runner = place
    assert len(report(runner).tried) > 90
    assert [way for way in report(runner).open if not way.startswith(LEFT_OPEN[level] or "\0")] == []


@pytest.mark.parametrize("user", USERS)
def test_the_probe_finds_what_is_open_without_isolation(runners: Runners, user: str) -> None:
    found = set(report(runners("none", user)).open)
    assert {"a file of the machine", "a server on the machine's loopback", "another process"} <= found


def test_memory_and_disk_limits_hold_with_the_right_reason(place: tuple[str, JobRunner]) -> None:
    assert len(report(place[1]).limits) == 6
    assert report(place[1]).exceeded == []


def test_files_in_a_closed_folder_count_towards_the_disk_limit(place: tuple[str, JobRunner]) -> None:
    write = "chmod 700 d; head -c 2000000 /dev/zero > d/$i; chmod 0 d"
    fill = f"cd $OUTPUTS; mkdir d; i=0; while [ $((i=i+1)) -lt 9 ]; do {write}; done; exec sleep 60"
    assert place[1].run(fill, disk=10 << 20).reason == "DiskExceeded"


def test_the_algorithm_is_not_root_and_has_no_capability(place: tuple[str, JobRunner]) -> None:
    lines = place[1].run("id -u; id -G; grep -E 'Cap(Inh|Prm|Eff|Amb)|NoNewPrivs|Seccomp:' /proc/self/status").log
    uid, groups, *status = lines.split("\n")[:-1]
    assert uid != "0"
    assert "0" not in groups.split()
    values = dict(line.split(":\t") for line in status)
    assert values.pop("NoNewPrivs") == "1"
    assert values.pop("Seccomp") == "2"
    assert set(values.values()) == {"0" * 16}


def test_inputs_can_be_opened_relative_to_the_working_directory(place: tuple[str, JobRunner]) -> None:
    assert place[1].run("ls -d data/inputs data/outputs").log == "data/inputs\ndata/outputs\n"


def test_python_writes_its_log_at_once(place: tuple[str, JobRunner]) -> None:
    ended = place[1].run("exec python3 -c 'import time; print(1); time.sleep(1000)'", algorithm_seconds=2)
    assert (ended.reason, ended.log) == ("DeadlineExceeded", "1\n")


def test_a_stage_may_start_only_so_many_processes_and_leaves_no_core_dump(place: tuple[str, JobRunner]) -> None:
    code = "from resource import *; print(getrlimit(RLIMIT_NPROC)[1] <= 8192, getrlimit(RLIMIT_CORE))"
    assert place[1].run(f"python3 -c '{code}'").log == "True (1, 1)\n"


def test_outputs_are_kept(place: tuple[str, JobRunner]) -> None:
    assert place[1].run("echo x > $OUTPUTS/x; echo y > $TMPDIR/y; cat $TMPDIR/y") == Ended(
        "succeeded", "", 0, "y\n", {"x": "x\n"}
    )


SELF_CONNECTION = (
    "import socket; s = socket.create_server(('127.0.0.1', 0)); "
    "socket.create_connection(s.getsockname()); print('connected')"
)


def test_programs_of_one_stage_reach_each_other_on_loopback(place: tuple[str, JobRunner]) -> None:
    assert place[1].run(f'python3 -c "{SELF_CONNECTION}"').log == "connected\n"


def test_each_stage_has_a_session_keyring_of_its_own() -> None:
    libc = ctypes.CDLL(None)
    keyctl = {"x86_64": 250}.get(os.uname().machine, 219)
    if libc.syscall(keyctl, 0, -3, 1) < 0:
        pytest.skip("this kernel has no keys")
    show = f"import ctypes; print(ctypes.CDLL(None).syscall({keyctl}, 0, -3, 1))"
    spec = {"cwd": "/", "command": [sys.executable, "-c", show], "environ": {}}
    code = f"import sys; sys.path.append({ROOT!r}); from functions.local import sandbox; sandbox.run_trusted({spec!r})"
    ids = {int(subprocess.check_output([sys.executable, "-c", code])) for _ in range(2)}
    assert len(ids) == 2
    assert libc.syscall(keyctl, 0, -3, 1) not in ids


# --- without network ------------------------------------------------------------------------


@pytest.mark.parametrize("user", USERS)
@pytest.mark.parametrize("level", ["sandbox", "network"])
def test_there_is_no_network_interface_but_loopback(runners: Runners, level: str, user: str) -> None:
    log = runners(level, user).run("tail -n +3 /proc/net/dev | cut -d: -f1; tail -n +2 /proc/net/route").log
    assert log.split() == ["lo"]


# --- in the sandbox -------------------------------------------------------------------------


def test_the_view_holds_programs_a_made_etc_devices_and_the_jobs_own_files(sandbox: JobRunner) -> None:
    top, etc, dev, data = sandbox.run("ls -m -w0 /; ls -m -w0 /etc; ls -m -w0 /dev; ls -m -w0 /data").log.splitlines()
    leading_to_programs = {"nix"}
    usual = {"bin", "data", "dev", "etc", "lib", "lib32", "lib64", "libx32", "proc", "sbin", "tmp", "usr"}
    assert set(top.split(", ")) <= usual | leading_to_programs
    assert {"passwd", "group", "hosts", "nsswitch.conf"} <= set(etc.split(", "))
    assert not {"shadow", "hostname", "resolv.conf", "machine-id", "ssh", "sudoers"} & set(etc.split(", "))
    assert set(dev.split(", ")) == {
        "fd", "full", "null", "random", "shm", "stderr", "stdin", "stdout", "tty", "urandom", "zero",
    }  # fmt: skip
    assert set(data.split(", ")) == {"adminlogs", "ddos", "inputs", "logs", "outputs", "transformations"}


def test_the_machines_name_inside_leads_to_loopback(sandbox: JobRunner) -> None:
    code = "import socket; n = socket.gethostname(); print(n, socket.gethostbyname(n))"
    assert sandbox.run(f"python3 -c '{code}'").log == "algorithm 127.0.0.1\n"


def test_the_view_names_no_user_of_the_machine(sandbox: JobRunner) -> None:
    names = sandbox.run("cut -d: -f1 /etc/passwd; id -un").log.split()
    assert names == ["root", "algorithm", "algorithm"]


def test_only_outputs_logs_and_temporary_files_can_be_changed(sandbox: JobRunner) -> None:
    ended = sandbox.run(
        "touch /data/outputs/a /data/logs/b /tmp/c /dev/shm/d && echo changed;"
        "for f in / /usr /etc /dev /data /data/inputs /data/transformations /data/ddos /proc/sys/kernel/hostname; do"
        "  touch $f/new 2>/dev/null || echo closed; done;"
        "rm -rf /data/outputs; ln -s /etc /data/outputs; ls -ld /data/outputs | cut -c1"
    )
    assert ended.log.splitlines()[:10] == ["changed", *["closed"] * 9]
    assert ended.log.splitlines()[-1] == "d"


def test_a_shown_folder_can_be_read_and_not_changed(sandbox: JobRunner) -> None:
    shown = sandbox.folder / "shown"
    shown.mkdir(exist_ok=True)
    shown.chmod(0o777)
    (shown / "data.csv").write_text("a,b\n")
    hidden = sandbox.run(f"cat {shown}/data.csv || echo hidden").log
    assert hidden.endswith("hidden\n")
    log = sandbox.run(f"cat {shown}/data.csv; touch {shown}/new || echo read-only", shown=str(shown)).log
    assert log.startswith("a,b\n")
    assert log.endswith("read-only\n")


def test_a_shown_folder_never_opens_the_platforms_own(sandbox: JobRunner) -> None:
    log = sandbox.run(f"ls {sandbox.folder}; ls {sandbox.folder}/cluster", shown=str(sandbox.folder)).log
    assert "cluster" in log
    assert "Permission denied" in log


def test_the_algorithm_sees_no_process_but_its_own(sandbox: JobRunner) -> None:
    log = sandbox.run("set -- /proc/[0-9]*; echo $#; ls /proc/1/fd; cat /proc/1/environ").log
    assert log.startswith("2\n")  # its init and its shell
    assert log.count("Permission denied") == 2


def test_processes_that_the_program_leaves_end_with_it(sandbox: JobRunner) -> None:
    marker = f"47{os.getpid()}"
    sandbox.run(f"setsid sleep {marker} >/dev/null 2>&1 & exit 0")
    assert subprocess.run(["pgrep", "-f", f"^sleep {marker}$"]).returncode == 1


# --- with the best isolation here -----------------------------------------------------------


@pytest.fixture
def sandboxed(driver: ProcessDriver) -> ProcessDriver:
    if driver.isolation is not Isolation.SANDBOX:
        pytest.skip(f"this machine grants: {driver.isolation.text}")
    return driver


def test_programs_of_the_path_are_visible_wherever_they_lie(
    sandboxed: ProcessDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tools" / "bin" / "greet"  # below /tmp, which the sandbox has for itself
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho greetings")
    program.chmod(0o755)
    (tmp_path / "link").symlink_to(tmp_path / "tools")
    monkeypatch.setenv("PATH", f"{tmp_path}/link/bin:{os.environ['PATH']}")
    job = shell_job("greet; echo x > /tmp/x && echo writable")
    run_to_end(sandboxed, job)
    assert read_log(sandboxed, job) == "greetings\nwritable\n"


def test_an_algorithm_reads_its_inputs_and_its_log_is_published(sandboxed: ProcessDriver) -> None:
    job = shell_job("cat data/inputs/did/0; echo z > /data/logs/z")
    inputs = volume(sandboxed, job) / "inputs" / "did"
    inputs.mkdir(parents=True)
    (inputs / "0").write_text("input\n")
    run_to_end(sandboxed, job)
    assert read_log(sandboxed, job) == "input\n"
    assert (volume(sandboxed, job) / "logs" / "z").read_text() == "z\n"


def test_without_isolation_the_program_still_runs(open_path: Path) -> None:
    driver = ProcessDriver(open_path / "open", isolation=Isolation.NONE)
    job = shell_job("echo x > $OUTPUTS/x; exit 8")
    assert run_to_end(driver, job).exit_code == 8
    until((volume(driver, job) / "outputs" / "x").exists, bool)
    driver.close()


@pytest.fixture(autouse=True, scope="module")
def _forget_reports() -> Iterator[None]:
    yield
    report.cache_clear()
