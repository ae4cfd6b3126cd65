"""Removes what a killed platform left on disk."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

CLUSTER = "cluster"  # the folder of the Jobs, below that of a platform
RUN_PREFIX = "sluice-run-"  # of the temporary folders of `sluice run`
_UNUSED_AFTER = 3600.0  # seconds


def remove_tree(folder: Path) -> None:
    """Remove a folder, whatever an algorithm left in it."""
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except (OSError, RecursionError):
        # Folders that their owner may not empty, or that lie deeper than Python can follow.
        for command in (["chmod", "-R", "u+rwx", "--"], ["rm", "-rf", "--"]):
            subprocess.run([*command, folder], stdin=subprocess.DEVNULL, capture_output=True, check=False)  # noqa: S603


def remove_platform_folder(folder: Path) -> None:
    """Remove the folder of a killed platform as soon as its stages have ended."""
    for lock in folder.glob(f"{CLUSTER}/*/*/*/lock"):
        with suppress(OSError), lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # waits for the supervisor
    remove_tree(folder)


def remove_stale_run_folders() -> None:
    """Remove the temporary folders of this user's killed `sluice run`s."""
    with os.scandir(tempfile.gettempdir()) as entries:  # may be many
        folders = [Path(entry.path) for entry in entries if entry.name.startswith(RUN_PREFIX)]
    for folder in folders:
        with suppress(OSError):
            status = folder.lstat()
            if stat.S_ISDIR(status.st_mode) and status.st_uid == os.getuid() and _is_abandoned(folder / "lock"):
                remove_platform_folder(folder)


def _is_abandoned(lock: Path) -> bool:
    """Whether a platform has had this lock and died. Without a process id in it, the platform may only just start."""
    try:
        with lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return bool(file.read())
    except FileNotFoundError:
        return time.time() - lock.parent.stat().st_mtime > _UNUSED_AFTER
    except BlockingIOError:
        return False
