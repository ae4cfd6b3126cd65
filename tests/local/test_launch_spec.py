"""What a stage is started with: its variables, its program, and files that only their owner can read."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.processes import (
    ProcessDriver,
    read_log,
    run_to_end,
    shell_job,
    volume,
)

from functions.local.launch_spec import LaunchOptions, refusal
from functions.workflow.tes_task import read


def test_the_program_gets_oceans_variables_and_none_of_the_platforms(
    driver: ProcessDriver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:password@host/db")
    job = shell_job("env")
    run_to_end(driver, job)
    environment = dict(line.split("=", 1) for line in read_log(driver, job).splitlines())
    assert environment["secret"] == "s3cr3t"
    assert json.loads(environment["DIDS"]) == []
    assert environment["INPUTS"] == environment["VOLUME"] + "/inputs"
    assert environment["OUTPUTS"] == environment["VOLUME"] + "/outputs"
    assert environment["LOGS"] == environment["VOLUME"] + "/logs"
    contract = {"DIDS", "TRANSFORMATION_DID", "VOLUME", "LOGS", "INPUTS", "OUTPUTS", "secret", "PYTHONUNBUFFERED"}
    assert set(environment) <= contract | {"PATH", "LANG", "HOME", "TMPDIR", "PWD", "SHLVL", "OLDPWD", "_"}


def test_the_program_is_the_file_that_configure_wrote(driver: ProcessDriver) -> None:
    job = shell_job("sh $ALGO")
    algorithm = volume(driver, job) / "transformations" / "algorithm"
    algorithm.parent.mkdir(parents=True)
    algorithm.write_text("echo from the file")
    run_to_end(driver, job)
    assert read_log(driver, job) == "from the file\n"


def test_other_users_cannot_read_the_files_of_a_job(driver: ProcessDriver) -> None:
    job = shell_job("exit 0")
    run_to_end(driver, job)
    folder = driver.folder / job.ref.namespace / job.workflow / "algorithm-1"
    assert folder.stat().st_mode & 0o077 == 0
    assert all(file.stat().st_mode & 0o077 == 0 for file in (folder / "job.json", folder / "launch.json"))


def test_without_a_sandbox_a_task_that_names_paths_is_refused_and_another_runs(tmp_path: Path) -> None:
    options = LaunchOptions("none", tmp_path)
    echo = {"executors": [{"image": "a", "command": ["echo"]}]}
    named = {**echo, "volumes": ["/v"]}
    runs, refused = (replace(shell_job("true"), definition=read(task)) for task in (echo, named))
    assert (refusal(runs, options), refusal(refused, options)) == ("", "NoIsolation")
    assert refusal(refused, LaunchOptions("sandbox", tmp_path)) == ""
