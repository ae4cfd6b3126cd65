"""What an algorithm can see, change and reach on the laptop, at each level of isolation."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.processes import (
    ProcessDriver,
    read_log,
    run_to_end,
    shell_job,
    volume,
)

from functions.local.isolation import Isolation


def test_the_algorithm_has_no_network(networkless: ProcessDriver) -> None:
    job = shell_job("python3 -c \"import socket; socket.create_connection(('127.0.0.1', 1))\"; cat /proc/net/dev")
    run_to_end(networkless, job)
    log = read_log(networkless, job)
    assert "Network is unreachable" in log
    assert "eth" not in log


def test_isolation_network_has_no_network_either(tmp_path: Path, isolation: Isolation) -> None:
    if isolation is Isolation.NONE:
        pytest.skip(f"this machine grants: {isolation.text}")
    driver = ProcessDriver(tmp_path / "network", isolation=Isolation.NETWORK)
    job = shell_job('grep -c : /proc/net/dev; test -d "$VOLUME/outputs" && echo there')
    run_to_end(driver, job)
    assert read_log(driver, job) == "1\nthere\n"  # the loopback, which is down
    driver.close()


def test_without_isolation_the_program_still_runs(tmp_path: Path) -> None:
    driver = ProcessDriver(tmp_path / "open", isolation=Isolation.NONE)
    job = shell_job("echo x > $OUTPUTS/x; exit 8")
    assert run_to_end(driver, job).exit_code == 8
    assert (volume(driver, job) / "outputs" / "x").exists()
    driver.close()


def test_the_algorithm_may_change_only_outputs_and_logs_of_its_volume(
    sandboxed: ProcessDriver,
) -> None:
    job = shell_job(
        "cat /data/inputs/x; echo y > /data/outputs/y; echo z > /data/logs/z;"
        "for f in . inputs transformations ddos; do touch /data/$f/new; done;"
        "rm -rf /data/outputs && ln -s /etc /data/outputs"
    )
    inputs = volume(sandboxed, job) / "inputs"
    inputs.mkdir(parents=True)
    (inputs / "x").write_text("input\n")
    run_to_end(sandboxed, job)
    log = read_log(sandboxed, job)
    assert log.startswith("input\n")
    assert log.count("Read-only file system") == 5
    assert (volume(sandboxed, job) / "logs" / "z").read_text() == "z\n"
    assert not (volume(sandboxed, job) / "outputs").is_symlink()


def test_programs_of_the_path_are_visible_wherever_they_lie(
    sandboxed: ProcessDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "tools" / "bin" / "greet"  # below /tmp, which the sandbox has for itself
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\necho greetings")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    job = shell_job("greet; echo x > /tmp/x && echo writable")
    run_to_end(sandboxed, job)
    assert read_log(sandboxed, job) == "greetings\nwritable\n"


def test_the_platforms_folder_is_closed_even_below_a_program_folder(
    sandboxed: ProcessDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin" / "program").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    job = shell_job(f"ls {tmp_path}/bin; ls {tmp_path}")
    run_to_end(sandboxed, job)
    assert read_log(sandboxed, job) == "program\nbin\n"


def test_the_algorithm_sees_nothing_of_the_machine_but_its_programs(sandboxed: ProcessDriver) -> None:
    job = shell_job(
        f"ls {sandboxed.folder} 2>&1; ls /data/adminlogs; ls /run; touch /etc/x /usr/x;"
        "set -- /proc/[0-9]*; echo $# processes; grep CapBnd /proc/self/status; cat /proc/1/environ"
    )
    run_to_end(sandboxed, job)
    log = read_log(sandboxed, job)
    assert "No such file" in log
    assert log.count("Permission denied") == 2  # the admin logs, its init's environment
    assert log.count("Read-only file system") == 2
    assert "\n2 processes\n" in log  # its init and its shell
    assert "CapBnd:\t0000000000000000" in log
