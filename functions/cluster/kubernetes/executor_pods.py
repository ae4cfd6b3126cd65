"""The container of one executor of a GA4GH TES task. Pure."""

from __future__ import annotations

from typing import Any

from functions.cluster.kubernetes.scripts import no_expansion, script
from functions.cluster.ports import StageJob
from functions.workflow.container_paths import LOGS, plan
from functions.workflow.tes_task import TesTask
from functions.workflow.volume_layout import LOGS as STREAMS
from functions.workflow.volume_layout import OUTPUTS


def command(job: StageJob, task: TesTask) -> dict[str, Any]:
    """The container's `command`, or its `args` where the image's own entrypoint runs, and its `workingDir`."""
    executor = task.executors[job.executor]
    argv = [no_expansion(word) for word in executor.command]
    place = {"workingDir": executor.workdir} if executor.workdir else {}
    if task.uses_entrypoint:
        return {"args": argv, **place}
    files = [no_expansion(path) for path in (executor.stdin, executor.stdout, executor.stderr)]
    kept = [LOGS, str(job.environment.publish.max_log_bytes)]
    return {"command": ["sh", "-c", no_expansion(script("executor.sh")), "executor", *kept, *files, *argv], **place}


def variables(job: StageJob, task: TesTask) -> dict[str, str]:
    """The environment variables: the client's, and a home and a folder for temporary files."""
    home = {"HOME": "/tmp", "TMPDIR": "/tmp"}  # noqa: S108 - a folder of the volume
    return {**home, **task.executors[job.executor].env}


def mounts(job: StageJob, task: TesTask) -> list[dict[str, Any]]:
    """The places of the task, each at its own path, and the folder for what this executor prints."""
    places = [
        {
            "name": "volume",
            "mountPath": place.path,
            "subPath": f"data/{OUTPUTS}{place.path}",
            **({"readOnly": True} if place.read_only else {}),
        }
        for place in plan(task.places)
    ]
    return [*places, {"name": "volume", "mountPath": LOGS, "subPath": f"data/{STREAMS}/{job.executor}"}]
