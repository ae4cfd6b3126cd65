"""From a Job to what the supervisor is to do: command, environment, limits, and what may be seen."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import functions
from functions.cluster import stage_command
from functions.workflow.model import Stage
from functions.workflow.volume_layout import ADMIN_LOGS, DDOS, INPUTS, LOGS, OUTPUTS, TRANSFORMATIONS, VOLUME

if TYPE_CHECKING:
    from functions.cluster.ports import StageJob
    from functions.cluster.processes import JobFolder

ROOT = str(Path(functions.__file__).parent.parent)
# configure and publish are ours and may need the operator's keys, but no stage talks to the database.
_NOT_FOR_STAGES = ("DATABASE_URL", "POSTGRES_", "ALLOWED_ADMINS")
_STAGE_LOG_BYTES = 10 << 20
_FOLDERS = (INPUTS, TRANSFORMATIONS, DDOS, OUTPUTS, LOGS, ADMIN_LOGS)
_NO_FILTER = "echo 'no image runs on a laptop: the environment needs a filterCommand'; exit 126"
# What the algorithm may change of its volume, as in a cluster; and what it must not see of the machine.
_WRITABLE = (OUTPUTS, LOGS)
_NOT_IN_SIGHT = ("/home", "/root", "/run", "/tmp", "/var/tmp", VOLUME)  # noqa: S108 - to hide them


def bare_python(code: str) -> list[str]:
    """A command for the fastest start of Python: without site-packages; `functions` can be imported, `sys` is."""
    return [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({ROOT!r}); {code}"]


def prepare(folder: JobFolder) -> None:
    """Lay the folders of the contract. Raises FileNotFoundError if the workflow's folder is gone: never a new one."""
    volume = folder.volume
    for path in (volume, *(volume / name for name in _FOLDERS), _scratch(folder), folder.path / "root"):
        path.mkdir(exist_ok=True)


def make(folder: JobFolder, job: StageJob, isolation: str) -> dict[str, Any]:
    """The plan of one Job."""
    if job.stage in (Stage.CONFIGURE, Stage.PUBLISH):
        return _of_program(folder, job)
    return _of_algorithm(folder, job, isolation)


def _of_program(folder: JobFolder, job: StageJob) -> dict[str, Any]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_NOT_FOR_STAGES)}
    return {
        **_common(folder),
        "isolation": "none",
        "command": stage_command.program_command(
            job, sys.executable, str(folder.path / "task.json"), str(folder.volume)
        ),
        "environ": {**kept, "PYTHONPATH": ROOT, "TERMINATION_LOG": str(folder.termination)},
        "termination": str(folder.termination),
        "log_bytes": _STAGE_LOG_BYTES,
        "seconds": job.limits.stage_seconds,
        "memory": 0,
        "disk": 0,
    }


def _of_algorithm(folder: JobFolder, job: StageJob, isolation: str) -> dict[str, Any]:
    home = folder.path.parent
    inside = isolation == "sandbox"
    volume = VOLUME if inside else str(folder.volume)
    scratch = "/tmp" if inside else str(_scratch(folder))  # noqa: S108 - its own
    command = ["/bin/sh", "-c", stage_command.algorithm_command(job, volume)]
    if job.stage is Stage.FILTER:
        command = list(job.environment.filter_command) or ["/bin/sh", "-c", _NO_FILTER]
    environ = {
        # The machine's own programs come first; behind them at least this Python is there.
        "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)]),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "HOME": scratch,
        "TMPDIR": scratch,
        "secret": job.secret,
        **stage_command.environment_variables(job, volume),
    }
    limits = job.limits
    return {
        **_common(folder),
        "isolation": isolation,
        "view": view(home.parent.parent.parent, home, folder.path, limits.memory, _own_files(job)),
        "command": command,
        "environ": environ,
        "termination": None,  # only our own programs are believed
        "cwd": scratch,
        "log_bytes": job.environment.publish.max_log_bytes,
        "seconds": limits.algorithm_seconds if job.stage is Stage.ALGORITHM else limits.stage_seconds,
        "memory": limits.memory,
        "disk": limits.disk,
    }


def _common(folder: JobFolder) -> dict[str, Any]:
    return {
        "cwd": str(_scratch(folder)),
        "log": str(folder.log),
        "outputs": [str(folder.volume / OUTPUTS), str(_scratch(folder))],
    }


def _scratch(folder: JobFolder) -> Path:
    """What the stage works in, and HOME and TMPDIR to algorithm and filter.

    Of one Job only: programs look for code there, and what an algorithm leaves behind must not run in a later stage.
    """
    return folder.path / "scratch"


def _own_files(job: StageJob) -> list[str]:
    """The files that the operator's filter is started with; they may lie where nothing else is to be seen."""
    if job.stage is not Stage.FILTER:
        return []
    return [word for word in job.environment.filter_command if os.path.isabs(word) and os.path.isfile(word)]


def view(platform: Path, home: Path, job: Path, shared_memory: int, files: Sequence[str] = ()) -> dict[str, Any]:
    """What a sandboxed stage sees of the files of this machine.

    `platform`, `home`, `job`: the platform's, the workflow's and the Job's folder; in the Job's, `root` is empty, to
    build the new root in. `files`: to be seen wherever they lie.
    In the view, `hide` is replaced by empty folders; then `show` is laid over, in its order: where it is seen, which
    folder or file it is, whether it is read-only; `cover` is there, but closed.
    """
    hidden = list(_NOT_IN_SIGHT)
    if not _below(str(platform), hidden):
        hidden.append(str(platform))
    programs = sorted({path for path in _programs(str(platform)) if _below(path, hidden)})
    return {
        "root": str(job / "root"),
        "hide": hidden,
        "show": [
            ("/tmp", str(job / "scratch"), False),  # noqa: S108 - its own; first, as programs may lie below it
            *((path, path, True) for path in (*programs, *(file for file in files if _below(file, hidden)))),
            (VOLUME, str(home / "data"), True),
            *((f"{VOLUME}/{name}", str(home / "data" / name), False) for name in _WRITABLE),
        ],
        "cover": [f"{VOLUME}/{ADMIN_LOGS}", *([str(platform)] if _below(str(platform), programs) else [])],
        "shared_memory": shared_memory,
    }


def _programs(platform: str) -> list[str]:
    """The folders of the programs that algorithms may call: Python's, and those around PATH's."""
    user = str(Path.home())
    found = [sys.prefix, sys.base_prefix]
    for path in os.environ.get("PATH", "").split(os.pathsep):
        around = os.path.dirname(path)
        # Beside their programs, these hold what is private.
        private = around in (user, f"{user}/.local") or f"{platform}/".startswith(f"{around}/")
        found += [path, f"{around}/lib"] if private else [around]
    return [path for path in found if os.path.isdir(path)]


def _below(path: str, folders: list[str]) -> bool:
    return any(path.startswith(f"{folder}/") for folder in folders)
