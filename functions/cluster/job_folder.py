"""The files of one Job on a laptop. functions/cluster/processes.py describes the folder that they lie in."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

import msgspec
from msgspec import Struct

from functions.cluster.ports import NameConflict, StageJob
from functions.workflow import reported_facts, volume_layout
from functions.workflow.model import JobUid, Outcome, Stage


class JobRequest(Struct, frozen=True):
    """job.json: the Job as it was created."""

    uid: JobUid
    job: StageJob


class JobEnd(Struct, frozen=True):
    """end.json: how a Job ended."""

    outcome: Outcome
    exit_code: int | None = None
    reason: str = ""
    oom_killed: bool = False
    started: float | None = None  # of its program, in seconds since 1970; None if that is not known
    ended: float | None = None


# Made at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
_REQUEST = msgspec.json.Decoder(JobRequest)
_END = msgspec.json.Decoder(JobEnd)


class JobFolder(Struct, frozen=True):
    """The files of one Job."""

    path: Path

    @property
    def lock(self) -> Path:
        return self.path / "lock"

    @property
    def end_file(self) -> Path:
        return self.path / "end.json"

    @property
    def termination(self) -> Path:
        """The file in which the stage's program says why it ended (functions/staging/report.py)."""
        return self.path / "termination"

    @property
    def volume(self) -> Path:
        return self.path.parent / "data"

    @property
    def log(self) -> Path:
        """The file with the output of the Job's program; that of algorithm and filter is published."""
        match self.path.name.partition("-")[0]:
            case Stage.ALGORITHM:
                return self.volume / volume_layout.ALGORITHM_LOG
            case Stage.FILTER:
                return self.volume / volume_layout.FILTER_LOG
            case _:  # configure and publish write their published log themselves
                return self.path / "output.log"

    def read_log_end(self, size: int) -> bytes:
        """Read at most the last `size` bytes of the log. Raises OSError if it is not a regular file."""
        with self.open_log() as file:
            return os.pread(file.fileno(), size, max(0, os.fstat(file.fileno()).st_size - size))

    def open_log(self) -> BufferedReader:
        """Open the log. Raises OSError if it is not a regular file.

        An algorithm may have put anything there: a link to a secret, a pipe without a writer, a huge file of holes. It
        may have replaced a folder on the way too, where it runs without a sandbox.
        """
        home = self.path.parent
        folder = os.open(home, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in self.log.parent.relative_to(home).parts:
                inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder)
                os.close(folder)
                folder = inner
            log = os.open(self.log.name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
        finally:
            os.close(folder)
        file = open(log, "rb")  # noqa: SIM115 - the caller closes it
        status = os.fstat(log)
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            file.close()
            raise OSError("the log is not a file of its own")
        return file

    @property
    def started(self) -> bool:
        """Whether a supervisor ever took the Job. Each Job runs once."""
        return self.started_at is not None

    @property
    def started_at(self) -> float | None:
        """When a supervisor took the Job, in seconds since 1970: it then wrote its process id into the lock."""
        try:
            status = self.lock.stat()
        except FileNotFoundError:
            return None
        return status.st_mtime if status.st_size else None

    @property
    def deleted(self) -> bool:
        return (self.path / "deleted").exists()

    def request(self) -> JobRequest | None:
        """Read job.json; None if there is no such Job. Raises NameConflict if the file is not one of ours."""
        try:
            return _REQUEST.decode((self.path / "job.json").read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except msgspec.DecodeError:
            raise NameConflict(f"{self.path.name}/job.json was not written by this version of Sluice") from None

    def create(self, request: JobRequest) -> None:
        """Write job.json. Raises FileExistsError if the Job exists."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.path / f"job.{request.uid}"
        write_atomically(draft, msgspec.json.encode(request))
        try:
            os.link(draft, self.path / "job.json")
        finally:
            draft.unlink()

    def end(self) -> JobEnd | None:
        """Read end.json; None while the Job has not ended."""
        try:
            return _END.decode(self.end_file.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except msgspec.DecodeError:
            return JobEnd(Outcome.LOST, reason="Lost")

    def reported_facts(self) -> Mapping[str, str]:
        """What our own program reported when it ended."""
        try:
            with open(self.termination, "rb") as file:
                return reported_facts.read(file.read(4096).decode(errors="replace"))
        except OSError:
            return {}

    def mark_deleted(self) -> None:
        with suppress(FileNotFoundError):
            (self.path / "deleted").touch(mode=0o600)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file, readable by its owner only, that appears whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    draft.rename(path)
