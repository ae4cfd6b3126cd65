"""The folder that results are saved into. It holds the results of one job at a time.

A hidden file in it names the job and its files. So a later command can resume the download, or replace these files and
no others.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from functions.cli.command_errors import FAILED, fail, printable

RECORD = ".sluice-results.json"
_DRAFT = f"{RECORD}.new"
OWN_FILES = (RECORD, _DRAFT)  # names that no result gets


@dataclass(frozen=True)
class Record:
    """The job whose results a folder holds, and their paths relative to the folder."""

    job: str
    files: tuple[str, ...]


@contextmanager
def claimed(folder: Path, job_id: str | None = None) -> Iterator[None]:
    """Create `folder` and keep other commands from saving results there. Ends the command if that cannot be.

    A new folder that stays empty is removed at the end.
    `job_id` None stands for a new job. Its results may replace those of an earlier one.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError as e:
        fail(f"{folder}: cannot write results there ({e.strerror or e}); choose another folder with --out")
    try:
        _lock(folder, descriptor)
        _check(folder, job_id)
        yield
    finally:
        if is_new:
            with suppress(OSError):  # it has results
                folder.rmdir()
        os.close(descriptor)


def _lock(folder: Path, descriptor: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        fail(f"another command saves results into {folder}; choose another folder with --out")


def _check(folder: Path, job_id: str | None) -> None:
    record = _read(folder)
    if record is None and any(folder.iterdir()):
        fail(f"{folder} is not empty, and not a folder of results; choose another folder with --out")
    if record is not None and job_id not in (None, record.job):
        fail(f"{folder} holds the results of job {record.job}; choose another folder with --out")


def begin(folder: Path, job_id: str, files: Iterable[Path]) -> None:
    """Remove the results of another job from `folder`, and record that it now holds `files` of this job."""
    try:
        record = _read(folder)
        if record is not None and record.job != job_id:
            for name in record.files:
                _remove(folder, folder / name)
        names = [file.relative_to(folder).as_posix() for file in files]
        new = folder / _DRAFT
        new.write_text(json.dumps({"job": job_id, "files": names}, indent=2) + "\n", encoding="utf-8")
        os.replace(new, folder / RECORD)
    except OSError as e:
        fail(f"{folder}: cannot be written ({e.strerror or e})", FAILED)


def _read(folder: Path) -> Record | None:
    """None if `folder` has no record. Ends the command if the record is damaged."""
    try:
        content = json.loads((folder / RECORD).read_bytes())
        record = Record(str(content["job"]), tuple(map(str, content["files"])))
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError):
        fail(f"{folder / RECORD} is damaged; remove it and the results beside it, or choose another folder with --out")
    return record


def _remove(folder: Path, file: Path) -> None:
    """Remove a result, what a broken download left of it, and folders that are then empty. Never leaves `folder`."""
    inside = file.parent.resolve().is_relative_to(folder.resolve()) and ".." not in file.relative_to(folder).parts
    if not inside:
        fail(f"{folder / RECORD} names a file outside the folder: {printable(file)}; remove the record")
    for path in (file, file.with_name(f"{file.name}.part")):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # not empty
        for parent in file.relative_to(folder).parents:
            if parent != Path():
                (folder / parent).rmdir()
