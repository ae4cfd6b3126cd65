"""What Ocean's contract promises a stage, wherever it runs: the task, the command, the variables. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

import msgspec

from functions.cluster.ports import StageJob
from functions.workflow.model import Stage
from functions.workflow.stage_task import Task


def task(job: StageJob) -> bytes:
    """The task file of configure and publish (functions/workflow/stage_task.py)."""
    environment = job.environment
    return msgspec.json.encode(
        Task(
            workflow=job.workflow,
            definition=job.definition,
            results=job.results,
            fetch=environment.fetch,
            publish=environment.publish,
        )
    )


def program(job: StageJob, python: str, task_file: str, volume: str) -> Sequence[str]:
    """The command of configure and publish. `-P`: code is never looked for in the folder that they start in."""
    command = [python, "-P", "-m", f"functions.staging.{job.stage}", "--task", task_file, "--volume", volume]
    if job.stage is Stage.PUBLISH:
        command += ["--attempt", str(job.attempt), "--scope", job.scope.value]
    return command


def entrypoint(job: StageJob, volume: str) -> str:
    """The algorithm's command, for a shell. `$ALGO` is replaced in the text, as operator-engine does."""
    algorithm = shlex.quote(f"{volume}/transformations/algorithm")
    return job.definition.stage.algorithm.container.entrypoint.replace("$ALGO", algorithm)


def variables(job: StageJob, volume: str) -> dict[str, str]:
    """Ocean's variables for algorithm and filter, but `secret`."""
    stage = job.definition.stage
    return {
        "VOLUME": volume,
        "LOGS": f"{volume}/logs",
        "INPUTS": f"{volume}/inputs",
        "OUTPUTS": f"{volume}/outputs",
        "DIDS": json.dumps([item.folder for item in stage.input]),
        "TRANSFORMATION_DID": stage.algorithm.folder,
    }
