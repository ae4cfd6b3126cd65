"""The cluster of a laptop: Jobs as files below one folder. `local/kubelet.py` runs them.

    <folder>/<namespace>/<workflow>/data/                  the volume, `/data` in Ocean's contract
                                   /<stage>-<attempt>/     one Job; of a further executor `<stage>-<attempt>-<executor>`
                                       job.json            the request; written once
                                       deleted             exists if the Job is to be ended and removed
                                       lock                the supervisor's pid; locked while it lives
                                       end.json            how the Job ended; written once
    <folder>/trash/                                        what the kubelet has to remove
    <folder>/wake                                          a pipe: one byte wakes the kubelet

A file appears by a rename or a link, and a removal begins with a rename. So a process that dies in the middle leaves
the file whole, or does not leave it at all.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from uuid import uuid4

from msgspec.structs import replace

from functions.cluster.job_folder import JobEnd, JobFolder, JobRequest, write_atomically
from functions.cluster.ports import ClusterUnavailable, JobRef, JobStatus, NameConflict, Rejected, StageJob, State
from functions.workflow.model import JobUid, Stage, Workflow, WorkflowId
from functions.workflow.tick import TickLevel

_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,200}")
_ATTEMPT = re.compile(rf"({'|'.join(Stage)})-[1-9][0-9]*(-[1-9][0-9]*)?")
TRASH = "trash"
WAKE = "wake"
TICK = "tick"  # the file with the level of the tick
_POLL = 0.2  # seconds between two reads of a log that is followed
_FOLLOWED = 1 << 16  # bytes of one piece of it
_LONG_LINES = 1 << 20  # bytes of a log that are read beyond the wanted ones


class ProcessCluster:
    """The adapter. It only writes files and wakes the kubelet, if one runs."""

    def __init__(
        self,
        folder: Path,
        new_uid: Callable[[], str] = lambda: str(uuid4()),
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self._folder = folder
        self._new_uid = new_uid
        self._pause = pause

    def create(self, job: StageJob) -> JobUid:
        folder = self._job(job.ref)
        if folder is None:
            raise Rejected("Invalid", "ids may hold only letters, digits, `.`, `_` and `-`", final=True)
        request = JobRequest(JobUid(self._new_uid()), job)
        with _io():
            try:
                folder.create(request)
            except FileExistsError:
                return self._existing(folder)
        self._wake()
        return request.uid

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
        folder, request = found
        with _io():
            status = status_of(request, folder.end(), folder.started_at)
            ours = status.state is State.ENDED and ref.stage.is_ours
            return replace(status, facts=folder.reported_facts()) if ours else status

    def clean_up(self, workflow: WorkflowId, namespace: str) -> None:
        home = self._home(workflow, namespace)
        if home is None:
            return
        with _io():
            move_to_trash(self._folder, home)
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
        with suppress(OSError):
            left = max_bytes
            for line in _last_lines(found[0].read_log_end(max_bytes + _LONG_LINES), lines):
                yield line[:left]
                left -= min(left, len(line))

    def follow(self, ref: JobRef, since: int) -> Iterator[bytes]:
        found = self._find(ref)
        if found is None:
            return
        folder, _ = found
        with suppress(OSError), folder.open_log() as log:
            yield b""
            ended = False
            while not ended:
                # Check for the end first: whatever the program printed by then is read below.
                ended = folder.end() is not None or not folder.path.exists()
                while chunk := os.pread(log.fileno(), _FOLLOWED, since):
                    since += len(chunk)
                    yield chunk
                if not ended:
                    self._pause(_POLL)
                    yield b""

    def set_tick(self, level: TickLevel) -> None:
        with _io():
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            write_atomically(self._folder / TICK, level.name.encode())

    def workflow_object(self, origin: str) -> None:
        """Return None: a laptop has no WorkFlow objects."""

    def report(self, origin: str, workflow: Workflow) -> None:
        """Do nothing: a laptop has no WorkFlow objects."""

    def _find(self, ref: JobRef) -> tuple[JobFolder, JobRequest] | None:
        """The Job that `ref` names, by UID too if it has one; None if it does not exist or is not ours."""
        folder = self._job(ref)
        try:
            with _io():
                request = folder.request() if folder else None
        except NameConflict:
            return None
        if folder is None or request is None or ref.uid not in (None, request.uid):
            return None
        return folder, request

    def _existing(self, folder: JobFolder) -> JobUid:
        request = folder.request()
        if request is None or folder.deleted:
            raise ClusterUnavailable(f"{folder.path.name} is being deleted", retry_after=1)
        return request.uid

    def _job(self, ref: JobRef) -> JobFolder | None:
        home = self._home(ref.workflow, ref.namespace)
        return JobFolder(home / ref.name.removeprefix(f"{ref.workflow}-")) if home else None

    def _home(self, workflow: WorkflowId, namespace: str) -> Path | None:
        safe = all(_SAFE.fullmatch(part) for part in (workflow, namespace)) and namespace not in (TRASH, WAKE, TICK)
        return self._folder / namespace / workflow if safe else None

    def _wake(self) -> None:
        # Without a kubelet the pipe has no reader, or does not exist. A kubelet looks when it starts.
        with suppress(OSError):
            pipe = os.open(self._folder / WAKE, os.O_WRONLY | os.O_NONBLOCK)
            try:
                os.write(pipe, b"!")
            finally:
                os.close(pipe)


def tick_level(folder: Path) -> TickLevel:
    """The level that `set_tick` wrote last; NONE if it never did."""
    try:
        name = (folder / TICK).read_text()
    except OSError:
        return TickLevel.NONE
    return TickLevel[name] if name in TickLevel.__members__ else TickLevel.NONE


def status_of(request: JobRequest, end: JobEnd | None, started: float | None = None) -> JobStatus:
    """The state of a Job, by its files. `started`: when it was taken, while it has not ended."""
    if end is None:
        return JobStatus(State.RUNNING, request.uid, since=_time(started))
    ended = JobStatus(State.ENDED, request.uid, end.outcome, end.exit_code, end.reason, end.oom_killed)
    return replace(ended, since=_time(end.started), until=_time(end.ended))


def _time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)


def job_folders(folder: Path) -> Iterator[JobFolder]:
    """Every Job below `folder`, also those in the trash."""
    for namespace in _subfolders(folder):
        for home in _subfolders(namespace):
            yield from (JobFolder(path) for path in _subfolders(home) if _ATTEMPT.fullmatch(path.name))


def move_to_trash(folder: Path, path: Path) -> None:
    """Move a Job or a workflow into the trash, where `job_folders` still finds it; idempotent."""
    target = folder / TRASH / uuid4().hex
    target.mkdir(mode=0o700, parents=True)
    with suppress(FileNotFoundError):
        path.rename(target / path.name if _ATTEMPT.fullmatch(path.name) else target)


def _last_lines(text: bytes, lines: int) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+", text)[-lines:] if lines > 0 else []


def _subfolders(path: Path) -> list[Path]:
    try:
        return [Path(entry.path) for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextmanager
def _io() -> Iterator[None]:
    """Turn an OSError (a full disk, a missing permission) into ClusterUnavailable: nothing is lost."""
    try:
        yield
    except OSError as e:
        raise ClusterUnavailable(f"cannot use the folder of the Jobs: {e.strerror}") from None
