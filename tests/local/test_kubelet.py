"""The kubelet runs each Job once and announces its end, whatever dies meanwhile."""

from __future__ import annotations

import os
import queue
import resource
import select
import signal
import subprocess
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.laptop import until
from support.processes import (
    Announcements,
    ProcessDriver,
    command_line,
    pids,
    run_to_end,
    shell_job,
    supervisor_pid,
    volume,
)

from functions.advance.event_filter import hint_of
from functions.cluster.ports import State
from functions.cluster.processes import ProcessCluster
from functions.local import program_environment
from functions.local.isolation import Isolation
from functions.local.supervisor_launcher import SupervisorLauncher
from functions.workflow.model import Outcome


def test_the_end_of_a_job_is_announced_as_an_event_that_advance_accepts(
    driver: ProcessDriver, announced: Announcements
) -> None:
    job = shell_job("exit 0")
    driver.create(job)
    event = announced.events.get(timeout=20)
    attributes = {name.removeprefix("ce-"): value for name, value in event.headers.items()}
    hint = hint_of(attributes, event.body)
    assert hint is not None
    assert hint.ref == job.ref


def test_an_announcement_that_was_refused_is_repeated(driver: ProcessDriver, announced: Announcements) -> None:
    announced.refusals = 2
    driver.create(shell_job("exit 0"))
    announced.events.get(timeout=20)


def test_a_new_kubelet_announces_jobs_that_ended_before(driver: ProcessDriver, announced: Announcements) -> None:
    run_to_end(driver, shell_job("exit 0"))
    announced.events.get(timeout=20)
    driver.restart_kubelet()
    announced.events.get(timeout=20)


def test_a_job_created_while_no_kubelet_runs_is_started_later(driver: ProcessDriver, tmp_path: Path) -> None:
    driver.kubelet.stop(end_stages=False)
    job = shell_job("exit 5")
    assert ProcessCluster(driver.folder).create(job)
    driver.kubelet = driver.new_kubelet()
    assert run_to_end(driver, job).exit_code == 5


def test_a_new_kubelet_adopts_a_running_job(driver: ProcessDriver, announced: Announcements) -> None:
    job = shell_job("echo once >> $OUTPUTS/starts; while [ ! -e $OUTPUTS/go ]; do sleep 0.02; done; exit 6")
    driver.create(job)
    outputs = volume(driver, job) / "outputs"
    until(lambda: (outputs / "starts").exists(), bool)
    driver.restart_kubelet()
    until(lambda: driver.kubelet.running, lambda n: n == 1)
    (outputs / "go").touch()
    assert run_to_end(driver, job).exit_code == 6
    assert (outputs / "starts").read_text() == "once\n"
    announced.events.get(timeout=20)


def test_a_new_kubelet_can_end_an_adopted_job(driver: ProcessDriver) -> None:
    job = shell_job("exec sleep 1000")
    driver.create(job)
    until(lambda: driver.kubelet.running, lambda n: n == 1)
    driver.restart_kubelet()
    driver.cluster.delete(job.ref)
    until(lambda: driver.cluster.read(job.ref), lambda status: status.state is State.GONE)


def test_a_job_whose_supervisor_was_killed_is_lost_and_not_started_again(
    driver: ProcessDriver, announced: Announcements
) -> None:
    job = shell_job("echo once >> $OUTPUTS/starts; exec sleep 4712")
    driver.create(job)
    starts = volume(driver, job) / "outputs" / "starts"
    until(starts.exists, bool)
    os.kill(supervisor_pid(driver, job), signal.SIGKILL)
    status = until(lambda: driver.cluster.read(job.ref), lambda status: status.state is State.ENDED)
    assert (status.outcome, status.reason) == (Outcome.LOST, "Lost")
    announced.events.get(timeout=20)
    driver.restart_kubelet()
    announced.events.get(timeout=20)
    assert starts.read_text() == "once\n"
    until(lambda: [pid for pid in pids() if b"sleep\x004712" in command_line(pid)], lambda left: not left)


@pytest.mark.parametrize("gone", ["deleted", "thrown away"])
def test_a_late_supervisor_does_not_start_a_removed_job(
    driver: ProcessDriver, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    late = f"""
import os, time
from functions.local import supervisor
main = supervisor.main
def late(*arguments):
    while not os.path.exists({str(driver.folder)!r} + '/go'): time.sleep(0.01)
    main(*arguments)
supervisor.main = late
"""
    real = program_environment.bare_python

    def slow(code: str) -> list[str]:
        return real(late + code)

    monkeypatch.setattr(program_environment, "bare_python", slow)
    driver.restart_kubelet()
    job = shell_job("touch $OUTPUTS/started")
    driver.create(job)
    until(lambda: driver.kubelet.running, lambda n: n == 1)
    monkeypatch.setattr(program_environment, "bare_python", real)
    handle = os.dup(next(iter(driver.kubelet._supervisors.values())))
    driver.kubelet.stop(end_stages=False)  # as if it was killed before its supervisor took the lock
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
    driver.kubelet = driver.new_kubelet()


def test_processes_of_a_lost_job_are_killed_where_no_namespace_does_it(open_path: Path) -> None:
    driver = ProcessDriver(open_path / "open", isolation=Isolation.NONE)
    job = shell_job("(setsid sleep 4715 >/dev/null 2>&1 &); touch $OUTPUTS/started; exec sleep 4715")
    driver.create(job)
    until((volume(driver, job) / "outputs" / "started").exists, bool)
    bystander = subprocess.Popen(["sleep", "1000"], cwd=volume(driver, job))
    os.kill(supervisor_pid(driver, job), signal.SIGKILL)
    until(lambda: [pid for pid in pids() if b"sleep\x004715" in command_line(pid)], lambda left: not left)
    until(lambda: driver.cluster.read(job.ref), lambda status: status.outcome is Outcome.LOST)
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
    driver.close()


def test_a_job_that_ended_without_a_kubelet_is_known_to_the_next(driver: ProcessDriver) -> None:
    job = shell_job("while [ ! -e $OUTPUTS/go ]; do sleep 0.02; done; exit 7")
    driver.create(job)
    outputs = volume(driver, job) / "outputs"
    until(outputs.exists, bool)
    until(lambda: driver.kubelet.running, lambda n: n == 1)
    driver.kubelet.stop(end_stages=False)
    (outputs / "go").touch()
    until(lambda: driver.cluster.read(job.ref), lambda status: status.state is State.ENDED)
    driver.kubelet = driver.new_kubelet()
    assert driver.cluster.read(job.ref).exit_code == 7


def test_a_job_that_cannot_start_is_retried_only_after_a_pause(
    driver: ProcessDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: queue.Queue[Path] = queue.Queue()
    launch = SupervisorLauncher.launch

    def counted(launcher: SupervisorLauncher, spec: Path) -> int | None:
        tries.put(spec)
        return launch(launcher, spec)

    monkeypatch.setattr(SupervisorLauncher, "launch", counted)
    # A supervisor that cannot write its lock ends like this.
    monkeypatch.setattr("functions.local.program_environment.bare_python", lambda code: ["/bin/false"])
    monkeypatch.setattr("functions.local.kubelet.RESCAN", 3600.0)  # however slow this machine is
    driver.restart_kubelet()
    driver.create(shell_job("exit 0"))
    first = tries.get(timeout=20)
    for _ in range(2):  # each makes the kubelet scan all its Jobs
        until(lambda: driver.kubelet.running, lambda n: n == 0)
        driver.create(shell_job("exit 0"))
        assert tries.get(timeout=20) != first


def test_a_job_starts_although_the_fork_server_was_killed(driver: ProcessDriver) -> None:
    for pid in _supervisors(driver):
        os.kill(pid, signal.SIGKILL)
    assert run_to_end(driver, shell_job("exit 9")).exit_code == 9


def test_a_fork_server_that_can_fork_no_more_lives_on_with_its_supervisors(driver: ProcessDriver) -> None:
    run_to_end(driver, shell_job("exit 0"))
    launcher = driver.kubelet._launcher
    server = launcher.fork_server()
    before, most = resource.prlimit(server.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (3, most))  # no descriptor is left for a pidfd
    assert launcher.launch(driver.folder / "none" / "launch.json") is None
    assert launcher.fork_server().pid == server.pid
    resource.prlimit(server.pid, resource.RLIMIT_NOFILE, (before, most))
    assert run_to_end(driver, shell_job("exit 9")).exit_code == 9


def test_a_fork_server_that_is_replaced_does_not_remove_the_folder_of_a_living_platform(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    launcher = SupervisorLauncher(tmp_path, temporary=True)
    server, kill, told = launcher.fork_server(), subprocess.Popen.kill, []

    def seen(server: subprocess.Popen[bytes]) -> None:
        told.append(launcher._socket.fileno() == -1)
        kill(server)

    monkeypatch.setattr(subprocess.Popen, "kill", seen)
    launcher.close()
    assert told == [False]  # while the socket is open, the server does not learn that the platform has ended
    assert server.returncode == -signal.SIGKILL


def test_a_supervisor_whose_platform_has_ended_already_ends_its_stage(driver: ProcessDriver) -> None:
    driver.kubelet._options = replace(driver.kubelet._options, ends_with_platform=True)
    driver.kubelet._launcher._platform.close()  # the kernel does it when the platform is killed
    assert run_to_end(driver, shell_job("exec sleep 1000")).outcome is Outcome.LOST


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_stages_that_end_with_the_platform_outlive_their_fork_server(
    driver: ProcessDriver, monkeypatch: pytest.MonkeyPatch, number: signal.Signals
) -> None:
    monkeypatch.setattr("functions.local.supervisor_launcher._TIMEOUT", 3.0)
    driver.restart_kubelet()
    driver.kubelet._options = replace(driver.kubelet._options, ends_with_platform=True)
    job = shell_job("touch $OUTPUTS/begun; until [ -e $OUTPUTS/go ]; do sleep 0.05; done; exit 7")
    driver.create(job)
    outputs = volume(driver, job) / "outputs"
    until((outputs / "begun").exists, bool)
    os.kill(driver.kubelet._launcher.fork_server().pid, number)
    assert run_to_end(driver, shell_job("exit 9")).exit_code == 9  # another fork server has started it
    (outputs / "go").touch()
    assert until(lambda: driver.cluster.read(job.ref), lambda status: status.state is State.ENDED).exit_code == 7


def test_the_fork_server_exits_when_the_kubelet_is_killed(driver: ProcessDriver) -> None:
    server = driver.kubelet._launcher.fork_server()
    driver.kubelet._launcher._socket.close()  # the kernel does it when the kubelet is killed
    assert server.wait(timeout=20) == 0


def test_no_process_is_left_after_the_kubelet_stopped(driver: ProcessDriver) -> None:
    assert run_to_end(driver, shell_job("exit 0")).outcome is Outcome.SUCCEEDED
    driver.kubelet.stop(end_stages=False)
    until(lambda: _supervisors(driver), lambda left: not left)
    driver.kubelet = driver.new_kubelet()


def test_a_deleted_job_is_announced_as_deleted(driver: ProcessDriver, announced: Announcements) -> None:
    job = shell_job("exec sleep 1000")
    driver.create(job)
    until(lambda: driver.kubelet.running, lambda n: n == 1)
    assert driver.cluster.delete(job.ref) is False
    assert announced.events.get(timeout=20).headers["ce-type"] == "dev.knative.apiserver.resource.delete"
    assert driver.cluster.read(job.ref).state is State.GONE


def test_clean_up_ends_the_job_and_removes_its_files(driver: ProcessDriver) -> None:
    job = shell_job("mkdir -m 000 $OUTPUTS/closed; exec sleep 4713")
    driver.create(job)
    until((volume(driver, job) / "outputs" / "closed").exists, bool)
    driver.cluster.clean_up(job.workflow, job.ref.namespace)
    until(lambda: list((driver.folder / "trash").iterdir()), lambda left: not left)
    assert not [pid for pid in pids() if b"sleep\x004713" in command_line(pid)]


def test_the_kubelet_can_end_its_jobs_when_it_stops(driver: ProcessDriver) -> None:
    job = shell_job("exec sleep 4714")
    driver.create(job)
    until(lambda: [pid for pid in pids() if b"sleep\x004714" in command_line(pid)], lambda found: bool(found))
    driver.kubelet.stop(end_stages=True)
    assert not [pid for pid in pids() if b"sleep\x004714" in command_line(pid)]
    driver.kubelet = driver.new_kubelet()


def _supervisors(driver: ProcessDriver) -> list[int]:
    """The fork server of the driver's folder, and the supervisors that it forked."""
    return [pid for pid in pids() if str(driver.folder).encode() in command_line(pid)]
