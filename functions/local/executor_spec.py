"""The launch spec of one executor of a GA4GH TES task: the task's places are at their own paths in its sandbox."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from functions.local import view
from functions.local.program_environment import algorithm_user, home_variables, shared_memory
from functions.workflow.container_paths import TMP, plan
from functions.workflow.tes_task import Executor, TesTask
from functions.workflow.volume_layout import LOGS, OUTPUTS

if TYPE_CHECKING:
    from functions.cluster.job_folder import JobFolder
    from functions.cluster.ports import StageJob
    from functions.local.launch_spec import LaunchOptions


def make(folder: JobFolder, job: StageJob, task: TesTask, options: LaunchOptions) -> dict[str, Any]:
    """Make the launch spec."""
    executor, limits = task.executors[job.executor], job.limits
    inside = options.isolation == "sandbox"
    tree, user = folder.volume / OUTPUTS, algorithm_user()
    if user and job.executor == 0:
        give(tree, user)
    scratch = TMP if inside else str(folder.path / "scratch")
    return {
        "isolation": options.isolation,
        "user": user,
        "view": _view(folder, job, task, options) if inside else None,
        "command": executor.command,
        "environ": {**home_variables(scratch), **executor.env},
        "cwd": (executor.workdir or "/") if inside else scratch,
        "termination": None,
        "log": str(folder.log),
        "log_bytes": job.environment.publish.max_log_bytes,
        "streams": _streams(folder, job, executor, user),
        "seconds": limits.algorithm_seconds,
        "memory": limits.memory,
        "disk": limits.disk,
        "writable": [str(tree)],
    }


def needs_places(task: TesTask) -> bool:
    """Whether the task names a path. Only a sandbox can have files at the paths of a container."""
    places = task.places
    return bool(places.folders or places.input_files or any(each.stdin for each in task.executors))


def _streams(folder: JobFolder, job: StageJob, executor: Executor, user: tuple[int, int] | None) -> dict[str, Any]:
    return {
        "logs": str(folder.volume / LOGS / str(job.executor)),
        "root": str(folder.volume / OUTPUTS),
        "stdin": executor.stdin,
        "stdout": executor.stdout,
        "stderr": executor.stderr,
        "user": user,
    }


def _view(folder: JobFolder, job: StageJob, task: TesTask, options: LaunchOptions) -> dict[str, Any]:
    tree = folder.volume / OUTPUTS
    mounts = view.task_view(
        [(place.path, str(tree) + place.path, not place.read_only) for place in plan(task.places)],
        platform=options.platform,
        user=algorithm_user() or (os.getuid(), os.getgid()),
        shared_memory=shared_memory(job.limits),
        shown=options.shown,
    )
    return view.as_json(mounts, folder.path / "root")


def give(tree: Path, user: tuple[int, int]) -> None:
    """Give what configure has fetched to the user of the executors, as in a Pod."""
    for here, _, names in os.walk(tree):
        for path in (here, *(os.path.join(here, name) for name in names)):
            if stat.S_ISREG(os.lstat(path).st_mode) or path == here:
                os.lchown(path, *user)
