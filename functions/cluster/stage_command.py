"""The task, the command and the variables of a stage, the same on every cluster: Ocean's contract. Pure."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence

from functions.cluster.ports import StageJob
from functions.workflow import task_writer, volume_layout
from functions.workflow.document import Definition
from functions.workflow.model import Stage
from functions.workflow.tes_task import TesTask


def task_json(job: StageJob) -> bytes:
    """Return the content of the task file of configure, publish and release."""
    return task_writer.task_json(
        job.workflow,
        job.definition,
        job.environment,
        owner=job.owner,
        policy=job.policy,
        results=job.results,
        held=job.held,
    )


def ocean(job: StageJob) -> Definition:
    """The Ocean document of a Job."""
    assert isinstance(job.definition, Definition)
    return job.definition


def image(job: StageJob) -> str:
    """The image that the consumer asks for: the algorithm's, or the executor's."""
    if isinstance(job.definition, TesTask):
        return job.definition.executors[job.executor].image
    return job.definition.stage.algorithm.container.reference


def program_command(job: StageJob, python: str, task_file: str, volume: str) -> Sequence[str]:
    """The command of configure and publish. With `-P`, Python imports nothing from the working directory."""
    command = [python, "-P", "-m", f"functions.staging.{job.stage}", "--task", task_file, "--volume", volume]
    if job.stage is Stage.PUBLISH:
        command += ["--attempt", str(job.attempt), "--scope", job.scope.value]
    return command


def algorithm_command(job: StageJob, volume: str) -> str:
    """The algorithm's command, for a shell. `$ALGO` is replaced in its text, as operator-engine does."""
    algorithm = shlex.quote(f"{volume}/{volume_layout.ALGORITHM}")
    return ocean(job).stage.algorithm.container.entrypoint.replace("$ALGO", algorithm)


def environment_variables(job: StageJob, volume: str) -> dict[str, str]:
    """The environment variables of algorithm and filter: Ocean's, except `secret`, and one for Python.

    Python writes each line at once, so that an algorithm that is stopped or killed leaves its log.
    """
    definition = job.definition
    if isinstance(definition, TesTask):  # the filter of a task
        return {
            "VOLUME": volume,
            "LOGS": f"{volume}/{volume_layout.LOGS}",
            "OUTPUTS": f"{volume}/{volume_layout.OUTPUTS}",
            "PYTHONUNBUFFERED": "1",
        }
    stage = definition.stage
    return {
        "VOLUME": volume,
        "LOGS": f"{volume}/{volume_layout.LOGS}",
        "INPUTS": f"{volume}/{volume_layout.INPUTS}",
        "OUTPUTS": f"{volume}/{volume_layout.OUTPUTS}",
        "DIDS": json.dumps([item.folder for item in stage.input]),
        "TRANSFORMATION_DID": stage.algorithm.folder,
        "PYTHONUNBUFFERED": "1",
    }
