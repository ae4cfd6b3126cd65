"""The cluster of a laptop: Jobs as files below one folder. `local/kubelet.py` runs them.

    <folder>/<namespace>/<workflow>/data/                  the volume, /data of the contract
                                   /<stage>-<attempt>/     one Job
                                       job.json            what was asked for; written once, whole
                                       deleted             it is to be ended and removed
                                       lock                held by the supervisor while it lives; its pid
                                       end.json            how it ended; written once, whole
    <folder>/trash/                                        what the node has to remove
    <folder>/wake                                          a pipe: one byte makes the node look

Every file appears by a rename or a link and every removal begins with a rename: whoever dies leaves all or nothing.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import msgspec
from msgspec import Struct

from functions.cluster.ports import JobRef, JobStatus, NameConflict, Rejected, StageJob, State, Unavailable
from functions.workflow.model import JobUid, Outcome, Stage, Workflow, WorkflowId

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_ATTEMPT = re.compile(r"(configure|algorithm|filter|publish)-[1-9][0-9]*")
TRASH = "trash"
WAKE = "wake"


class Asked(Struct, frozen=True):
    """job.json: a Job as it was asked for."""

    uid: JobUid
    job: StageJob


class End(Struct, frozen=True):
    """end.json: how a Job ended."""

    outcome: Outcome
    exit_code: int | None = None
    reason: str = ""
    oom_killed: bool = False


@dataclass(frozen=True, slots=True)
class JobFolder:
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
        """Where the stage's program says why it ended (functions/staging/report.py)."""
        return self.path / "termination"

    @property
    def volume(self) -> Path:
        return self.path.parent / "data"

    @property
    def log(self) -> Path:
        """What the Job's program prints: for the algorithm and the filter where it is published from."""
        match self.path.name.partition("-")[0]:
            case Stage.ALGORITHM:
                return self.volume / "logs" / "algorithm.log"
            case Stage.FILTER:
                return self.volume / "adminlogs" / "filter.log"
            case _:  # these write their published log themselves
                return self.path / "output.log"

    @property
    def started(self) -> bool:
        """Whether a supervisor ever had it; each Job is run once."""
        try:
            return self.lock.stat().st_size > 0
        except FileNotFoundError:
            return False

    @property
    def deleted(self) -> bool:
        return (self.path / "deleted").exists()

    def asked(self) -> Asked | None:
        """None: there is no such Job. Raises AlienJob where the file is not one of ours."""
        try:
            return msgspec.json.decode((self.path / "job.json").read_bytes(), type=Asked)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except msgspec.DecodeError:
            raise NameConflict(f"{self.path.name}: job.json is not a Job of this version of Sluice") from None

    def ask(self, asked: Asked) -> None:
        """Create the Job. Raises FileExistsError."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self.path / f"job.{asked.uid}"
        write(draft, msgspec.json.encode(asked))
        try:
            os.link(draft, self.path / "job.json")
        finally:
            draft.unlink()

    def end(self) -> End | None:
        """How it ended; None while it has not."""
        try:
            return msgspec.json.decode(self.end_file.read_bytes(), type=End)
        except (FileNotFoundError, NotADirectoryError):
            return None
        except msgspec.DecodeError:
            return End(Outcome.LOST, reason="Lost")

    def mark_deleted(self) -> None:
        with suppress(FileNotFoundError):
            (self.path / "deleted").touch(mode=0o600)


class ProcessCluster:
    """The adapter. Starts nothing itself: it leaves files and wakes the node, if one is there."""

    def __init__(self, folder: Path, new_uid: Callable[[], str] = lambda: str(uuid4())) -> None:
        self._folder = folder
        self._new_uid = new_uid

    def create(self, job: StageJob) -> JobUid:
        folder = self._job(job.ref)
        if folder is None:
            raise Rejected("Invalid", "ids must be of letters, digits, `.`, `_` and `-`", final=True)
        asked = Asked(JobUid(self._new_uid()), job)
        with _io():
            try:
                folder.ask(asked)
            except FileExistsError:
                return self._existing(folder)
        self._wake()
        return asked.uid

    def delete(self, ref: JobRef) -> bool:
        found = self._find(ref)
        if found is None:
            return True
        with _io():
            found[0].mark_deleted()
        self._wake()
        return False

    def read(self, ref: JobRef, pod: str | None = None) -> JobStatus:
        found = self._find(ref)
        if found is None:
            return JobStatus(State.GONE)
        folder, asked = found
        with _io():
            return live(asked, folder.end())

    def clean_up(self, workflow: WorkflowId, namespace: str) -> None:
        home = self._home(workflow, namespace)
        if home is None:
            return
        with _io():
            discard(self._folder, home)
        self._wake()

    def orphans(self, namespace: str, limit: int) -> Sequence[WorkflowId]:
        if not _SAFE.fullmatch(namespace):
            return []
        with _io():
            return [WorkflowId(path.name) for path in sorted(_subfolders(self._folder / namespace))[:limit]]

    def logs(self, ref: JobRef, lines: int, max_bytes: int) -> Iterator[bytes]:
        found = self._find(ref)
        if found is None:
            return
        log, left = found[0].log, max_bytes
        # An algorithm in no sandbox could put a link there, and have any file read out.
        if not log.resolve().is_relative_to(found[0].path.parent.resolve()):
            return
        with suppress(FileNotFoundError), log.open("rb") as file:
            for line in deque(file, maxlen=lines):
                yield line[:left]
                left -= min(left, len(line))

    def workflow_object(self, origin: str) -> None:
        """None: a laptop has no WorkFlow objects."""

    def report(self, origin: str, workflow: Workflow) -> None:
        """Nothing, for the same reason."""

    def _find(self, ref: JobRef) -> tuple[JobFolder, Asked] | None:
        """The Job, if it is there, ours, and the one that is meant."""
        folder = self._job(ref)
        try:
            with _io():
                asked = folder.asked() if folder else None
        except NameConflict:
            return None
        if folder is None or asked is None or ref.uid not in (None, asked.uid):
            return None
        return folder, asked

    def _existing(self, folder: JobFolder) -> JobUid:
        asked = folder.asked()
        if asked is None or folder.deleted:
            raise Unavailable(f"{folder.path.name} is being deleted", retry_after=1)
        return asked.uid

    def _job(self, ref: JobRef) -> JobFolder | None:
        home = self._home(ref.workflow, ref.namespace)
        return JobFolder(home / f"{ref.stage}-{ref.attempt}") if home else None

    def _home(self, workflow: WorkflowId, namespace: str) -> Path | None:
        safe = all(_SAFE.fullmatch(part) for part in (workflow, namespace)) and namespace not in (TRASH, WAKE)
        return self._folder / namespace / workflow if safe else None

    def _wake(self) -> None:
        # Without a node there is no reader (or no pipe): it will look when it starts.
        with suppress(OSError):
            pipe = os.open(self._folder / WAKE, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(pipe, b"!")
            finally:
                os.close(pipe)


def live(asked: Asked, end: End | None) -> JobStatus:
    """What the files of a Job say of it."""
    if end is None:
        return JobStatus(State.RUNNING, asked.uid)
    return JobStatus(State.ENDED, asked.uid, end.outcome, end.exit_code, end.reason, end.oom_killed)


def jobs(folder: Path) -> Iterator[JobFolder]:
    """All Jobs below `folder`, those in the trash too."""
    for namespace in _subfolders(folder):
        for home in _subfolders(namespace):
            yield from (JobFolder(path) for path in _subfolders(home) if _ATTEMPT.fullmatch(path.name))


def discard(folder: Path, what: Path) -> None:
    """Move a Job or a workflow into the trash, where `jobs` still finds it; idempotent."""
    place = folder / TRASH / uuid4().hex
    place.mkdir(mode=0o700, parents=True)
    with suppress(FileNotFoundError):
        what.rename(place / what.name if _ATTEMPT.fullmatch(what.name) else place)


def write(path: Path, content: bytes) -> None:
    """Write a private file so that it is there whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    draft.rename(path)


def _subfolders(path: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextmanager
def _io() -> Iterator[None]:
    """A full disk or a folder without permission: nothing is lost, try again."""
    try:
        yield
    except OSError as e:
        raise Unavailable(f"the folder of the Jobs cannot be used: {e.strerror}") from None
