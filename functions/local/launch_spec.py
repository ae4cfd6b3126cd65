"""The launch spec: all that the supervisor needs to run one Job. The kubelet writes it as launch.json."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from functions.cluster import stage_command
from functions.local import view
from functions.local.program_environment import ROOT, algorithm_user, home_variables, shared_memory
from functions.workflow.model import Stage
from functions.workflow.tes_task import TesTask
from functions.workflow.volume_layout import ADMIN_LOGS, DDOS, INPUTS, LOGS, OUTPUTS, TRANSFORMATIONS, VOLUME

if TYPE_CHECKING:
    from functions.cluster.job_folder import JobFolder
    from functions.cluster.ports import StageJob

# configure and publish are ours and may need the operator's keys, but no stage talks to the database.
_NOT_FOR_STAGES = ("DATABASE_URL", "POSTGRES_", "ALLOWED_ADMINS")
_STAGE_LOG_BYTES = 10 << 20
_FOLDERS = (INPUTS, TRANSFORMATIONS, DDOS, OUTPUTS, LOGS, ADMIN_LOGS)
_WRITABLE = (OUTPUTS, LOGS)
_NO_FILTER = "echo 'no image runs on a laptop: the environment needs a filterCommand'; exit 126"


class LaunchOptions(Struct, frozen=True):
    """The options that are the same for all Jobs of a platform."""

    isolation: str
    platform: Path  # its folder, which no algorithm may see
    shown: Sequence[Path] = ()  # further files and folders that algorithms see
    ends_with_platform: bool = False  # whether running stages end with the platform, even if it is killed


def prepare(folder: JobFolder, options: LaunchOptions) -> None:
    """Make the folders of Ocean's contract. Raises FileNotFoundError if the workflow's folder was removed."""
    volume = folder.volume
    scratch = _scratch(folder)
    for path in (volume, *(volume / name for name in _FOLDERS), scratch, folder.path / "root"):
        path.mkdir(exist_ok=True)
    if user := algorithm_user():
        for path in (*(volume / name for name in _WRITABLE), scratch):
            os.chown(path, *user)
        if options.isolation != "sandbox":  # the sandbox shows the folders elsewhere
            way = (folder.path, *folder.path.parents)
            for path in way[: way.index(options.platform) + 1]:
                os.chown(path, -1, user[1])
                path.chmod(0o710)


def unreachable(platform: Path) -> Path | None:
    """A parent of the platform's folder that algorithms may not enter without a sandbox; None if there is none."""
    if (user := algorithm_user()) is None:
        return None
    for path in platform.parents:
        status = path.stat()
        if not status.st_mode & (0o010 if status.st_gid == user[1] else 0o001):
            return path
    return None


def refusal(job: StageJob, options: LaunchOptions) -> str:
    """The reason for which this machine cannot run the Job; empty if it can."""
    if options.isolation == "sandbox" or job.stage is not Stage.ALGORITHM or not isinstance(job.definition, TesTask):
        return ""
    from functions.local import executor_spec

    return "NoIsolation" if executor_spec.needs_places(job.definition) else ""


def make(folder: JobFolder, job: StageJob, options: LaunchOptions) -> dict[str, Any]:
    """The launch spec of one Job."""
    if job.stage.is_ours:
        spec = _of_our_program(folder, job)
    elif job.stage is Stage.ALGORITHM and isinstance(job.definition, TesTask):
        from functions.local import executor_spec

        spec = executor_spec.make(folder, job, job.definition, options)
    else:
        spec = _of_algorithm(folder, job, options)
    return {**spec, "ends_with_platform": options.ends_with_platform}


def _of_our_program(folder: JobFolder, job: StageJob) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_STAGES)}
    command = stage_command.program_command(job, sys.executable, str(folder.path / "task.json"), str(folder.volume))
    return {
        "isolation": "trusted",
        "command": command,
        "environ": {**kept, "PYTHONPATH": ROOT, "TERMINATION_LOG": str(folder.termination)},
        "cwd": str(_scratch(folder)),
        "termination": str(folder.termination),
        "log": str(folder.log),
        "log_bytes": _STAGE_LOG_BYTES,
        "seconds": job.limits.stage_seconds,
        "memory": 0,
        "disk": 0,
        "writable": [],
    }


def _of_algorithm(folder: JobFolder, job: StageJob, options: LaunchOptions) -> dict[str, Any]:
    inside = options.isolation == "sandbox"
    volume = VOLUME if inside else str(folder.volume)
    scratch = "/tmp" if inside else str(_scratch(folder))  # noqa: S108 - its own
    if job.stage is Stage.FILTER:
        command = list(job.environment.filter_command) or ["/bin/sh", "-c", _NO_FILTER]
    else:
        command = ["/bin/sh", "-c", stage_command.algorithm_command(job, volume)]
    limits = job.limits
    return {
        "isolation": options.isolation,
        "user": algorithm_user(),
        "view": _view(folder, job, options) if inside else None,
        "command": command,
        "environ": {
            **home_variables(scratch),
            "secret": job.secret,
            **stage_command.environment_variables(job, volume),
        },
        # In a Pod the volume is /data and the working directory /, so algorithms may open `data/inputs/…`.
        "cwd": "/" if inside else str(folder.volume.parent),
        "termination": None,  # only the messages of our own programs are trusted
        "log": str(folder.log),
        "log_bytes": job.environment.publish.max_log_bytes,
        "seconds": limits.algorithm_seconds if job.stage is Stage.ALGORITHM else limits.stage_seconds,
        "memory": limits.memory,
        "disk": limits.disk,
        "writable": [*(str(folder.volume / name) for name in _WRITABLE), str(_scratch(folder))],
    }


def _view(folder: JobFolder, job: StageJob, options: LaunchOptions) -> dict[str, Any]:
    mounts = view.view(
        folder.volume,
        _scratch(folder),
        platform=options.platform,
        user=algorithm_user() or (os.getuid(), os.getgid()),
        shared_memory=shared_memory(job.limits),
        shown=[*options.shown, *_own_files(job)],
    )
    return view.as_json(mounts, folder.path / "root")


def _scratch(folder: JobFolder) -> Path:
    """The folder that a stage works in; HOME and TMPDIR of algorithm and filter.

    Each Job has its own. Programs look for code there, and a later stage must not run what an algorithm left behind.
    """
    return folder.path / "scratch"


def _own_files(job: StageJob) -> list[Path]:
    """The files that the operator's filter command names by absolute paths. They are visible wherever they lie."""
    if job.stage is not Stage.FILTER:
        return []
    return [Path(word) for word in job.environment.filter_command if os.path.isabs(word) and os.path.isfile(word)]
