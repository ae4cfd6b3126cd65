"""The task, the command and the variables of a stage, the same on every cluster: Ocean's contract. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

import msgspec

from functions.cluster.ports import StageJob
from functions.workflow import stage_task, volume_layout
from functions.workflow.model import Stage


def task_json(job: StageJob) -> bytes:
    """Return the content of the task file of configure and publish."""
    environment = job.environment
    return stage_task.encode(
        stage_task.Task(
            workflow=job.workflow,
            definition=job.definition,
            results=job.results,
            fetch=environment.fetch,
            publish=environment.publish,
            policy=msgspec.Raw(job.policy.encode() or b"{}"),
            held=job.held,
        )
    )


def program_command(job: StageJob, python: str, task_file: str, volume: str) -> Sequence[str]:
    """The command of configure and publish. With `-P`, Python imports nothing from the working directory."""
    command = [python, "-P", "-m", f"functions.staging.{job.stage}", "--task", task_file, "--volume", volume]
    if job.stage is Stage.PUBLISH:
        command += ["--attempt", str(job.attempt), "--scope", job.scope.value]
    return command


def algorithm_command(job: StageJob, volume: str) -> str:
    """The algorithm's command, for a shell. `$ALGO` is replaced in its text, as operator-engine does."""
    algorithm = shlex.quote(f"{volume}/{volume_layout.ALGORITHM}")
    return job.definition.stage.algorithm.container.entrypoint.replace("$ALGO", algorithm)


def environment_variables(job: StageJob, volume: str) -> dict[str, str]:
    """The environment variables of algorithm and filter: Ocean's, except `secret`, and one for Python.

    Python writes each line at once, so that an algorithm that is stopped or killed leaves its log.
    """
    stage = job.definition.stage
    return {
        "VOLUME": volume,
        "LOGS": f"{volume}/{volume_layout.LOGS}",
        "INPUTS": f"{volume}/{volume_layout.INPUTS}",
        "OUTPUTS": f"{volume}/{volume_layout.OUTPUTS}",
        "DIDS": json.dumps([item.folder for item in stage.input]),
        "TRANSFORMATION_DID": stage.algorithm.folder,
        "PYTHONUNBUFFERED": "1",
    }
