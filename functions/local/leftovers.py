"""Removes what a killed platform left on disk."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
import tempfile
import time
from contextlib import suppress
from pathlib import Path

RUN_PREFIX = "sluice-run-"  # of the temporary folders of `sluice run`
_UNUSED_AFTER = 3600.0  # seconds


def remove_tree(folder: Path) -> None:
    """Remove a folder, even if an algorithm left folders in it that their owner has no permission to empty."""
    for path, names, _ in os.walk(folder):
        for inner in (os.path.join(path, name) for name in names):
            if not os.path.islink(inner):
                os.chmod(inner, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def remove_platform_folder(folder: Path) -> None:
    """Remove the folder of a killed platform as soon as its stages have ended."""
    for lock in folder.glob("cluster/*/*/*/lock"):
        with suppress(OSError), lock.open() as file:
            fcntl.flock(file, fcntl.LOCK_SH)  # waits for the supervisor
    remove_tree(folder)


def remove_stale_run_folders() -> None:
    """Remove the temporary folders of this user's killed `sluice run`s."""
    for folder in Path(tempfile.gettempdir()).glob(f"{RUN_PREFIX}*"):
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
