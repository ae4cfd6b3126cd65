"""The supervisor keeps a stage within its limits, writes its log and records how it ended."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.laptop import until
from support.processes import (
    MIB,
    ProcessDriver,
    command_line,
    pids,
    read_log,
    run_to_end,
    shell_job,
    supervisor_pid,
    volume,
)

from functions.cluster.ports import StageJob
from functions.local.isolation import Isolation
from functions.workflow.model import Outcome
from functions.workflow.stage_options import PublishOptions


@pytest.mark.parametrize(
    ("command", "outcome", "exit_code", "reason"),
    [
        ("exit 0", Outcome.SUCCEEDED, 0, ""),
        ("exit 3", Outcome.FAILED, 3, "Error"),
        ("kill -SEGV $$", Outcome.FAILED, 139, "Error"),
        ("no-such-program", Outcome.FAILED, 127, "Error"),
    ],
)
def test_the_job_ends_with_the_programs_exit_code(
    driver: ProcessDriver, command: str, outcome: Outcome, exit_code: int, reason: str
) -> None:
    status = run_to_end(driver, shell_job(command))
    assert (status.outcome, status.exit_code, status.reason, status.oom_killed) == (outcome, exit_code, reason, False)


def test_a_program_that_exceeds_its_time_is_ended(driver: ProcessDriver) -> None:
    job = shell_job("echo working; exec sleep 1000", algorithm_seconds=1)
    status = run_to_end(driver, job)
    assert (status.outcome, status.reason) == (Outcome.TIMED_OUT, "DeadlineExceeded")
    assert read_log(driver, job) == "working\n"


def test_a_program_that_ignores_sigterm_is_killed(driver: ProcessDriver) -> None:
    status = run_to_end(driver, shell_job("trap '' TERM; while :; do sleep 0.1; done", algorithm_seconds=1))
    assert status.outcome is Outcome.TIMED_OUT


def test_a_timed_out_program_may_still_write_its_outputs(driver: ProcessDriver) -> None:
    job = shell_job("trap 'echo saved > $OUTPUTS/x; exit' TERM; while :; do sleep 0.1; done", algorithm_seconds=1)
    assert run_to_end(driver, job).outcome is Outcome.TIMED_OUT
    assert (volume(driver, job) / "outputs" / "x").read_text() == "saved\n"


def test_a_program_above_its_memory_limit_is_killed_as_out_of_memory(driver: ProcessDriver) -> None:
    status = run_to_end(driver, shell_job("python3 -c 'x = b\"x\" * (1 << 30)'", memory=100 * MIB))
    assert (status.outcome, status.exit_code, status.reason) == (Outcome.FAILED, 137, "OOMKilled")
    assert status.oom_killed


def test_all_processes_of_a_job_share_its_memory_limit(driver: ProcessDriver) -> None:
    eater = "python3 -c 'import time; x = b\"x\" * (60 << 20); time.sleep(1000)'"
    status = run_to_end(driver, shell_job(f"{eater} & {eater} & wait", memory=100 * MIB))
    assert status.oom_killed


def test_an_endless_log_is_cut_and_does_not_block_the_program(driver: ProcessDriver) -> None:
    job = shell_job("yes | head -c 100000000; exit 4")
    job = replace(job, environment=_with_log(job, 1 * MIB))
    assert run_to_end(driver, job).exit_code == 4
    log = read_log(driver, job)
    assert MIB < len(log) < MIB + 100
    assert "cut here" in log[-60:]


def test_the_supervisor_stays_idle_after_the_program_closed_its_output(open_path: Path) -> None:
    driver = ProcessDriver(open_path / "open", isolation=Isolation.NONE)
    job = shell_job("exec >&- 2>&-; touch $OUTPUTS/closed; while [ ! -e $OUTPUTS/go ]; do sleep 0.1; done")
    driver.create(job)
    outputs = volume(driver, job) / "outputs"
    until((outputs / "closed").exists, bool)
    before = _processor_time(supervisor_pid(driver, job))
    time.sleep(1)  # the span that is measured
    used = _processor_time(supervisor_pid(driver, job)) - before
    (outputs / "go").touch()
    assert run_to_end(driver, job).outcome is Outcome.SUCCEEDED
    driver.close()
    assert used < 0.3


def _processor_time(pid: int) -> float:
    """Seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_a_log_of_exactly_the_limit_is_not_cut(driver: ProcessDriver) -> None:
    job = shell_job("head -c 1000 /dev/zero")
    job = replace(job, environment=_with_log(job, 1000))
    run_to_end(driver, job)
    assert read_log(driver, job) == "\0" * 1000


def _with_log(job: StageJob, limit: int) -> Any:
    import msgspec

    return msgspec.structs.replace(job.environment, publish=PublishOptions(max_log_bytes=limit))


@pytest.mark.parametrize(
    "command",
    ["cat /dev/zero > $OUTPUTS/one", "i=0; while i=$((i+1)); do head -c 1000000 /dev/zero > $OUTPUTS/$i; done"],
    ids=["one file", "many files"],
)
def test_a_program_above_its_disk_limit_is_killed(driver: ProcessDriver, command: str) -> None:
    status = run_to_end(driver, shell_job(command, disk=10 * MIB))
    assert (status.outcome, status.reason) == (Outcome.FAILED, "DiskExceeded")


def test_a_tree_that_is_too_deep_to_be_counted_is_refused(driver: ProcessDriver) -> None:
    enter = "mkdir $name && cd $name"
    name = "name=$(printf d%.0s $(seq 200))"
    status = run_to_end(driver, shell_job(f"cd -P $OUTPUTS; {name}; for n in $(seq 40); do {enter}; done; exit 0"))
    assert (status.outcome, status.reason) == (Outcome.FAILED, "TreeTooDeep")


def test_background_processes_end_with_the_program(driver: ProcessDriver) -> None:
    job = shell_job("(setsid sleep 4711 >/dev/null 2>&1 &) ; exit 0")
    assert run_to_end(driver, job).outcome is Outcome.SUCCEEDED
    assert not [pid for pid in pids() if b"sleep\x004711" in command_line(pid)]


def test_a_log_that_was_replaced_by_a_link_is_not_read(open_path: Path) -> None:
    (open_path / "private").write_text("private")
    driver = ProcessDriver(open_path / "open", isolation=Isolation.NONE)
    job = shell_job(f"rm $LOGS/algorithm.log; ln -s {open_path}/private $LOGS/algorithm.log")
    run_to_end(driver, job)
    assert read_log(driver, job) == ""
    driver.close()
