"""Jobs as processes: each runs once, within its limits, and its end is told whatever dies meanwhile."""

from __future__ import annotations

import json
import os
import queue
import select
import signal
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.clusters import stage_job
from support.laptop import until
from support.processes import ProcessDriver

from functions.advance.event_filter import interest
from functions.cluster.events import ApiServerEvent
from functions.cluster.ports import JobStatus, StageJob, State
from functions.cluster.processes import ProcessCluster
from functions.local import launch_spec
from functions.local.isolation import Isolation, probe
from functions.local.warm_supervisor import Standby
from functions.workflow.environment import PublishPolicy
from functions.workflow.model import Outcome, Stage

MIB = 1 << 20


class Told:
    """Takes events; refuses the first `refusals`."""

    def __init__(self) -> None:
        self.events: queue.Queue[ApiServerEvent] = queue.Queue()
        self.refusals = 0

    def __call__(self, event: ApiServerEvent) -> bool:
        self.refusals -= 1
        if self.refusals >= 0:
            return False
        self.events.put(event)
        return True


@pytest.fixture(scope="session")
def isolation() -> Isolation:
    return probe()


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def driver(tmp_path: Path, told: Told, isolation: Isolation) -> Iterator[ProcessDriver]:
    driver = ProcessDriver(tmp_path / "cluster", told, isolation)
    yield driver
    driver.close()


def script(command: str, stage: Stage = Stage.ALGORITHM, **limits: Any) -> StageJob:
    """A Job whose program is a shell script."""
    job = stage_job(uuid4().hex, stage, entrypoint=command)
    return replace(job, limits=replace(job.limits, **limits))


def ended(driver: ProcessDriver, job: StageJob) -> JobStatus:
    driver.cluster.create(job)
    return until(lambda: driver.cluster.read(job.ref), lambda live: live.state is State.ENDED)


def printed(driver: ProcessDriver, job: StageJob) -> str:
    return b"".join(driver.cluster.logs(job.ref, 10**6, 100 * MIB)).decode()


def volume(driver: ProcessDriver, job: StageJob) -> Path:
    return driver.folder / job.ref.namespace / job.workflow / "data"


# --- how it ends ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "outcome", "exit_code", "reason"),
    [
        ("exit 0", Outcome.SUCCEEDED, 0, ""),
        ("exit 3", Outcome.FAILED, 3, "Error"),
        ("kill -SEGV $$", Outcome.FAILED, 139, "Error"),
        ("no-such-program", Outcome.FAILED, 127, "Error"),
    ],
)
def test_the_exit_code_is_the_programs_own(
    driver: ProcessDriver, command: str, outcome: Outcome, exit_code: int, reason: str
) -> None:
    live = ended(driver, script(command))
    assert (live.outcome, live.exit_code, live.reason, live.oom_killed) == (outcome, exit_code, reason, False)


def test_a_program_that_overruns_its_time_is_ended(driver: ProcessDriver) -> None:
    job = script("echo working; exec sleep 1000", algorithm_seconds=1)
    live = ended(driver, job)
    assert (live.outcome, live.reason) == (Outcome.TIMED_OUT, "DeadlineExceeded")
    assert printed(driver, job) == "working\n"


def test_a_program_that_does_not_listen_is_killed(driver: ProcessDriver) -> None:
    live = ended(driver, script("trap '' TERM; while :; do sleep 0.1; done", algorithm_seconds=1))
    assert live.outcome is Outcome.TIMED_OUT


def test_a_program_has_the_time_to_write_what_it_has(driver: ProcessDriver) -> None:
    job = script("trap 'echo saved > $OUTPUTS/x; exit' TERM; while :; do sleep 0.1; done", algorithm_seconds=1)
    assert ended(driver, job).outcome is Outcome.TIMED_OUT
    assert (volume(driver, job) / "outputs" / "x").read_text() == "saved\n"


def test_a_program_that_eats_memory_is_out_of_memory(driver: ProcessDriver) -> None:
    live = ended(driver, script("python3 -c 'x = b\"x\" * (1 << 30)'", memory=100 * MIB))
    assert (live.outcome, live.exit_code, live.reason) == (Outcome.FAILED, 137, "OOMKilled")
    assert live.oom_killed


def test_processes_share_the_memory_limit(driver: ProcessDriver) -> None:
    eater = "python3 -c 'import time; x = b\"x\" * (60 << 20); time.sleep(1000)'"
    live = ended(driver, script(f"{eater} & {eater} & wait", memory=100 * MIB))
    assert live.oom_killed


def test_a_log_without_end_is_cut_and_holds_nobody_up(driver: ProcessDriver) -> None:
    job = script("yes | head -c 100000000; exit 4")
    job = replace(job, environment=_with_log(job, 1 * MIB))
    assert ended(driver, job).exit_code == 4
    log = printed(driver, job)
    assert MIB < len(log) < MIB + 100
    assert "cut here" in log[-60:]


def test_a_program_that_closes_its_output_does_not_keep_the_supervisor_busy(tmp_path: Path) -> None:
    driver = ProcessDriver(tmp_path / "open", isolation=Isolation.NONE)
    job = script("exec >&- 2>&-; touch $OUTPUTS/closed; while [ ! -e $OUTPUTS/go ]; do sleep 0.1; done")
    driver.create(job)
    outputs = volume(driver, job) / "outputs"
    until((outputs / "closed").exists, bool)
    before = _processor_time(_supervisor(driver, job))
    time.sleep(1)  # the span that is measured
    used = _processor_time(_supervisor(driver, job)) - before
    (outputs / "go").touch()
    assert ended(driver, job).outcome is Outcome.SUCCEEDED
    driver.close()
    assert used < 0.3


def _processor_time(pid: int) -> float:
    """Seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_log_that_just_fits_is_not_cut(driver: ProcessDriver) -> None:
    job = script("head -c 1000 /dev/zero")
    job = replace(job, environment=_with_log(job, 1000))
    ended(driver, job)
    assert printed(driver, job) == "\0" * 1000


def _with_log(job: StageJob, limit: int) -> Any:
    import msgspec

    return msgspec.structs.replace(job.environment, publish=PublishPolicy(max_log_bytes=limit))


@pytest.mark.parametrize(
    "command",
    ["cat /dev/zero > $OUTPUTS/one", "i=0; while i=$((i+1)); do head -c 1000000 /dev/zero > $OUTPUTS/$i; done"],
    ids=["one file", "many files"],
)
def test_outputs_without_end_are_stopped(driver: ProcessDriver, command: str) -> None:
    live = ended(driver, script(command, disk=10 * MIB))
    assert (live.outcome, live.reason) == (Outcome.FAILED, "DiskExceeded")


def test_what_a_program_leaves_running_is_ended_with_it(driver: ProcessDriver) -> None:
    job = script("(setsid sleep 4711 >/dev/null 2>&1 &) ; exit 0")
    assert ended(driver, job).outcome is Outcome.SUCCEEDED
    assert not [pid for pid in _pids() if b"sleep\x004711" in _command(pid)]


# --- what it is given -----------------------------------------------------------------------


def test_the_program_has_oceans_variables_and_nothing_of_the_platforms(
    driver: ProcessDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:password@host/db")
    job = script("env")
    ended(driver, job)
    environment = dict(line.split("=", 1) for line in printed(driver, job).splitlines())
    assert environment["secret"] == "s3cr3t"
    assert json.loads(environment["DIDS"]) == []
    assert environment["INPUTS"] == environment["VOLUME"] + "/inputs"
    assert environment["OUTPUTS"] == environment["VOLUME"] + "/outputs"
    assert environment["LOGS"] == environment["VOLUME"] + "/logs"
    contract = {"DIDS", "TRANSFORMATION_DID", "VOLUME", "LOGS", "INPUTS", "OUTPUTS", "secret"}
    assert set(environment) <= contract | {"PATH", "LANG", "HOME", "TMPDIR", "PWD", "SHLVL", "OLDPWD", "_"}


def test_the_program_is_the_file_that_configure_wrote(driver: ProcessDriver) -> None:
    job = script("sh $ALGO")
    algorithm = volume(driver, job) / "transformations" / "algorithm"
    algorithm.parent.mkdir(parents=True)
    algorithm.write_text("echo from the file")
    ended(driver, job)
    assert printed(driver, job) == "from the file\n"


def test_nothing_can_be_read_of_other_workflows_jobs_by_others(driver: ProcessDriver) -> None:
    job = script("exit 0")
    ended(driver, job)
    folder = driver.folder / job.ref.namespace / job.workflow / "algorithm-1"
    assert folder.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in (folder / "job.json", folder / "plan.json"))


@pytest.fixture
def sandboxed(driver: ProcessDriver) -> ProcessDriver:
    if driver.isolation is not Isolation.SANDBOX:
        pytest.skip(f"this machine grants: {driver.isolation.text}")
    return driver


@pytest.fixture
def networkless(driver: ProcessDriver) -> ProcessDriver:
    if driver.isolation is Isolation.NONE:
        pytest.skip(f"this machine grants: {driver.isolation.text}")
    return driver


def test_the_algorithm_has_no_network(networkless: ProcessDriver) -> None:
    job = script("python3 -c \"import socket; socket.create_connection(('127.0.0.1', 1))\"; cat /proc/net/dev")
    ended(networkless, job)
    log = printed(networkless, job)
    assert "Network is unreachable" in log
    assert "eth" not in log


def test_a_network_sandbox_cuts_the_network_too(tmp_path: Path, isolation: Isolation) -> None:
    if isolation is Isolation.NONE:
        pytest.skip(f"this machine grants: {isolation.text}")
    driver = ProcessDriver(tmp_path / "network", isolation=Isolation.NETWORK)
    job = script('grep -c : /proc/net/dev; test -d "$VOLUME/outputs" && echo there')
    ended(driver, job)
    assert printed(driver, job) == "1\nthere\n"  # the loopback, which is down
    driver.close()


def test_without_isolation_the_program_runs_all_the_same(tmp_path: Path) -> None:
    driver = ProcessDriver(tmp_path / "open", isolation=Isolation.NONE)
    job = script("echo x > $OUTPUTS/x; exit 8")
    assert ended(driver, job).exit_code == 8
    assert (volume(driver, job) / "outputs" / "x").exists()
    driver.close()


def test_the_algorithm_sees_its_volume_as_data_and_can_change_only_outputs_and_logs(
    sandboxed: ProcessDriver,
) -> None:
    job = script(
        "cat /data/inputs/x; echo y > /data/outputs/y; echo z > /data/logs/z;"
        "for f in . inputs transformations ddos; do touch /data/$f/new; done;"
        "rm -rf /data/outputs && ln -s /etc /data/outputs"
    )
    inputs = volume(sandboxed, job) / "inputs"
    inputs.mkdir(parents=True)
    (inputs / "x").write_text("input\n")
    ended(sandboxed, job)
    log = printed(sandboxed, job)
    assert log.startswith("input\n")
    assert log.count("Read-only file system") == 5
    assert (volume(sandboxed, job) / "logs" / "z").read_text() == "z\n"
    assert not (volume(sandboxed, job) / "outputs").is_symlink()


def test_programs_are_there_wherever_they_are_installed(
    sandboxed: ProcessDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tools" / "bin" / "greet"  # below /tmp, which the sandbox has for itself
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho greetings")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    job = script("greet; echo x > /tmp/x && echo writable")
    ended(sandboxed, job)
    assert printed(sandboxed, job) == "greetings\nwritable\n"


def test_the_platforms_folder_is_closed_also_where_programs_lie_around_it(
    sandboxed: ProcessDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin" / "program").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    job = script(f"ls {tmp_path}/bin; ls {tmp_path}")
    ended(sandboxed, job)
    assert printed(sandboxed, job) == "program\nbin\n"


def test_a_log_that_is_a_link_to_elsewhere_is_not_read_out(tmp_path: Path) -> None:
    (tmp_path / "private").write_text("private")
    driver = ProcessDriver(tmp_path / "open", isolation=Isolation.NONE)
    job = script(f"rm $LOGS/algorithm.log; ln -s {tmp_path}/private $LOGS/algorithm.log")
    ended(driver, job)
    assert printed(driver, job) == ""
    driver.close()


def test_the_algorithm_sees_nothing_of_the_machine_but_its_programs(sandboxed: ProcessDriver) -> None:
    job = script(
        f"ls {sandboxed.folder} 2>&1; ls /data/adminlogs; ls /run; touch /etc/x /usr/x;"
        "set -- /proc/[0-9]*; echo $# processes; grep CapBnd /proc/self/status; cat /proc/1/environ"
    )
    ended(sandboxed, job)
    log = printed(sandboxed, job)
    assert "No such file" in log
    assert log.count("Permission denied") == 2  # the admin logs, its init's environment
    assert log.count("Read-only file system") == 2
    assert "\n2 processes\n" in log  # its init and its shell
    assert "CapBnd:\t0000000000000000" in log


# --- once, whatever dies --------------------------------------------------------------------


def test_an_end_is_announced_as_the_event_that_advance_waits_for(driver: ProcessDriver, told: Told) -> None:
    job = script("exit 0")
    driver.create(job)
    event = told.events.get(timeout=20)
    attributes = {name.removeprefix("ce-"): value for name, value in event.headers.items()}
    hint = interest(attributes, event.body)
    assert hint is not None
    assert hint.ref == job.ref


def test_an_end_that_nobody_took_is_announced_again(driver: ProcessDriver, told: Told) -> None:
    told.refusals = 2
    driver.create(script("exit 0"))
    told.events.get(timeout=20)


def test_a_new_node_announces_what_had_ended(driver: ProcessDriver, told: Told) -> None:
    ended(driver, script("exit 0"))
    told.events.get(timeout=20)
    driver.restart_node()
    told.events.get(timeout=20)


def test_a_job_that_was_asked_for_while_no_node_was_there_is_started(driver: ProcessDriver, tmp_path: Path) -> None:
    driver.node.stop(end_stages=False)
    job = script("exit 5")
    assert ProcessCluster(driver.folder).create(job)
    driver.node = driver._new_node()
    assert ended(driver, job).exit_code == 5


def test_a_new_node_takes_up_what_still_runs(driver: ProcessDriver, told: Told) -> None:
    job = script("echo once >> $OUTPUTS/starts; while [ ! -e $OUTPUTS/go ]; do sleep 0.02; done; exit 6")
    driver.create(job)
    outputs = volume(driver, job) / "outputs"
    until(lambda: (outputs / "starts").exists(), bool)
    driver.restart_node()
    until(lambda: driver.node.running, lambda n: n == 1)
    (outputs / "go").touch()
    assert ended(driver, job).exit_code == 6
    assert (outputs / "starts").read_text() == "once\n"
    told.events.get(timeout=20)


def test_a_new_node_can_end_what_an_old_one_started(driver: ProcessDriver) -> None:
    job = script("exec sleep 1000")
    driver.create(job)
    until(lambda: driver.node.running, lambda n: n == 1)
    driver.restart_node()
    driver.cluster.delete(job.ref)
    until(lambda: driver.cluster.read(job.ref), lambda live: live.state is State.GONE)


def test_a_stage_whose_supervisor_was_killed_is_lost_and_never_started_again(driver: ProcessDriver, told: Told) -> None:
    job = script("echo once >> $OUTPUTS/starts; exec sleep 4712")
    driver.create(job)
    starts = volume(driver, job) / "outputs" / "starts"
    until(starts.exists, bool)
    os.kill(_supervisor(driver, job), signal.SIGKILL)
    live = until(lambda: driver.cluster.read(job.ref), lambda live: live.state is State.ENDED)
    assert (live.outcome, live.reason) == (Outcome.LOST, "Lost")
    told.events.get(timeout=20)
    driver.restart_node()
    told.events.get(timeout=20)
    assert starts.read_text() == "once\n"
    until(lambda: [pid for pid in _pids() if b"sleep\x004712" in _command(pid)], lambda left: not left)


@pytest.mark.parametrize("gone", ["deleted", "thrown away"])
def test_a_supervisor_that_comes_late_starts_nothing(
    driver: ProcessDriver, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    late = tuple(
        launch_spec.bare_python(
            f"import time, os\nwhile not os.path.exists({str(driver.folder)!r} + '/go'): time.sleep(0.01)\n"
        )
    )
    real = launch_spec.bare_python

    def slow(code: str) -> list[str]:
        return [*late[:-1], f"{late[-1]}\n{code}"]

    monkeypatch.setattr(launch_spec, "bare_python", slow)
    driver.restart_node()
    job = script("touch $OUTPUTS/started")
    driver.create(job)
    until(lambda: driver.node.running, lambda n: n == 1)
    monkeypatch.setattr(launch_spec, "bare_python", real)
    handle = os.pidfd_open(next(iter(driver.node._children.values())).pid)
    driver.node.stop(end_stages=False)  # killed before its supervisor had the lock
    kept = volume(driver, job).parent
    if gone == "deleted":
        driver.cluster.delete(job.ref)
    else:
        kept = kept.rename(driver.folder.parent / "away")
    (driver.folder / "go").touch()
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    assert poll.poll(20_000)
    os.close(handle)
    assert not (kept / "data" / "outputs" / "started").exists()
    driver.node = driver._new_node()


def test_what_a_lost_stage_left_running_is_ended_where_no_namespace_does_it(tmp_path: Path) -> None:
    driver = ProcessDriver(tmp_path / "open", isolation=Isolation.NONE)
    job = script("(setsid sleep 4715 >/dev/null 2>&1 &); touch $OUTPUTS/started; exec sleep 4715")
    driver.create(job)
    until((volume(driver, job) / "outputs" / "started").exists, bool)
    bystander = subprocess.Popen(["sleep", "1000"], cwd=volume(driver, job))
    os.kill(_supervisor(driver, job), signal.SIGKILL)
    until(lambda: [pid for pid in _pids() if b"sleep\x004715" in _command(pid)], lambda left: not left)
    until(lambda: driver.cluster.read(job.ref), lambda live: live.outcome is Outcome.LOST)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    driver.close()


def test_a_stage_that_ended_without_a_node_is_known_to_the_next(driver: ProcessDriver) -> None:
    job = script("while [ ! -e $OUTPUTS/go ]; do sleep 0.02; done; exit 7")
    driver.create(job)
    outputs = volume(driver, job) / "outputs"
    until(outputs.exists, bool)
    until(lambda: driver.node.running, lambda n: n == 1)
    driver.node.stop(end_stages=False)
    (outputs / "go").touch()
    until(lambda: driver.cluster.read(job.ref), lambda live: live.state is State.ENDED)
    driver.node = driver._new_node()
    assert driver.cluster.read(job.ref).exit_code == 7


def test_a_stage_that_cannot_be_started_is_not_tried_again_and_again(
    driver: ProcessDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: queue.Queue[Path] = queue.Queue()
    supervise = Standby.supervise

    def counted(standby: Standby, plan: Path) -> subprocess.Popen[bytes]:
        tries.put(plan)
        return supervise(standby, plan)

    monkeypatch.setattr(Standby, "supervise", counted)
    # What a supervisor comes to that cannot write its lock.
    monkeypatch.setattr("functions.local.launch_spec.bare_python", lambda code: ["/bin/false"])
    monkeypatch.setattr("functions.local.kubelet.RESCAN", 3600.0)  # however slow this machine is
    driver.restart_node()
    driver.create(script("exit 0"))
    first = tries.get(timeout=20)
    for _ in range(2):  # each has the node look at all its Jobs
        until(lambda: driver.node.running, lambda n: n == 0)
        driver.create(script("exit 0"))
        assert tries.get(timeout=20) != first


def test_a_stage_is_started_although_the_process_that_waited_for_it_was_killed(driver: ProcessDriver) -> None:
    for pid in _waiting(driver):
        os.kill(pid, signal.SIGKILL)
    assert ended(driver, script("exit 9")).exit_code == 9


def test_no_process_waits_for_a_node_that_was_killed(driver: ProcessDriver) -> None:
    waiting = driver.node._standby.prepare()
    assert waiting.stdin is not None
    waiting.stdin.close()  # the kernel does it for who is killed
    assert waiting.wait(timeout=20) == 0


def test_no_process_waits_for_a_node_that_has_stopped(driver: ProcessDriver) -> None:
    assert ended(driver, script("exit 0")).outcome is Outcome.SUCCEEDED
    driver.node.stop(end_stages=False)
    until(lambda: _waiting(driver), lambda left: not left)
    driver.node = driver._new_node()


def test_a_deleted_job_is_announced_as_gone(driver: ProcessDriver, told: Told) -> None:
    job = script("exec sleep 1000")
    driver.create(job)
    until(lambda: driver.node.running, lambda n: n == 1)
    assert driver.cluster.delete(job.ref) is False
    assert told.events.get(timeout=20).headers["ce-type"] == "dev.knative.apiserver.resource.delete"
    assert driver.cluster.read(job.ref).state is State.GONE


def test_cleaning_up_ends_what_runs_and_removes_what_is_there(driver: ProcessDriver) -> None:
    job = script("mkdir -m 000 $OUTPUTS/closed; exec sleep 4713")
    driver.create(job)
    until((volume(driver, job) / "outputs" / "closed").exists, bool)
    driver.cluster.clean_up(job.workflow, job.ref.namespace)
    until(lambda: list((driver.folder / "trash").iterdir()), lambda left: not left)
    assert not [pid for pid in _pids() if b"sleep\x004713" in _command(pid)]


def test_leaving_may_end_what_runs(driver: ProcessDriver) -> None:
    job = script("exec sleep 4714")
    driver.create(job)
    until(lambda: [pid for pid in _pids() if b"sleep\x004714" in _command(pid)], lambda found: bool(found))
    driver.node.stop(end_stages=True)
    assert not [pid for pid in _pids() if b"sleep\x004714" in _command(pid)]
    driver.node = driver._new_node()


def _supervisor(driver: ProcessDriver, job: StageJob) -> int:
    lock = driver.folder / job.ref.namespace / job.workflow / f"{job.stage}-{job.attempt}" / "lock"
    return int(lock.read_text())


def _waiting(driver: ProcessDriver) -> list[int]:
    """The processes that wait for Jobs of the driver's folder, or run one."""
    return [pid for pid in _pids() if str(driver.folder).encode() in _command(pid)]


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
