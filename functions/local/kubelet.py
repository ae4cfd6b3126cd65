"""The kubelet: starts each Job below one folder once, and announces how it ended.

There is one per platform. All its state can be read again from the folder, so it may die at any moment: the stages
continue under their supervisors, and the next kubelet adopts them.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import msgspec

from functions.cluster import stage_command
from functions.cluster.events import Action, ApiServerEvent, pod_event
from functions.cluster.job_folder import JobEnd, JobFolder, JobRequest, write_atomically
from functions.cluster.processes import (
    TRASH,
    WAKE,
    job_folders,
    move_to_trash,
    status_of,
)
from functions.local import cgroup, launch_spec, process_tree
from functions.local.leftovers import remove_tree
from functions.local.supervisor_launcher import SupervisorLauncher
from functions.log import about
from functions.workflow.model import Outcome

logger = logging.getLogger(__name__)

# Seconds between two scans of the folder, if nothing wakes the kubelet.
RESCAN = 5.0
# The same while a Job is being removed, or while an announcement was not accepted.
RESCAN_SOON = 0.2


class Kubelet:
    """Runs the Jobs below `folder`. `announce` sends an event and returns whether it was accepted.

    `launcher`: of this folder's supervisors, if one was started already.
    """

    def __init__(
        self,
        folder: Path,
        announce: Callable[[ApiServerEvent], bool],
        options: launch_spec.LaunchOptions,
        launcher: SupervisorLauncher | None = None,
    ) -> None:
        self._folder = folder
        self._announce = announce
        self._options = options
        self._supervisors: dict[str, int] = {}  # uid → pidfd
        self._announced: set[str] = set()  # uids whose end was announced and whose folder still exists
        self._not_before: dict[str, float] = {}  # uid → earliest time of the next start (monotonic)
        self._removing: dict[Path, threading.Thread] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="kubelet", daemon=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mkfifo(folder / WAKE, 0o600)
        # Open it for writing too: a pipe without a writer is always readable.
        self._wake = os.open(folder / WAKE, os.O_RDWR | os.O_NONBLOCK)
        self._launcher = launcher or SupervisorLauncher(folder)

    def start(self) -> None:
        cgroup.remove_stale()
        self._thread.start()

    def stop(self, *, end_stages: bool) -> None:
        """Stop. Running stages continue and the next kubelet adopts them, unless `end_stages` ends them."""
        self._stopping = True
        os.write(self._wake, b"!")
        self._thread.join()
        self._launcher.close()
        for uid in self._supervisors if end_stages else ():
            self._terminate(uid)
        for handle in self._supervisors.values():
            if end_stages:
                _has_ended(handle, wait=5)
            os.close(handle)
        for removal in list(self._removing.values()):
            removal.join(timeout=5)
        os.close(self._wake)

    @property
    def running(self) -> int:
        return len(self._supervisors)

    def _run(self) -> None:
        while not self._stopping:
            soon = self._sync()
            poll = select.poll()
            for descriptor in (self._wake, *self._supervisors.values()):
                poll.register(descriptor, select.POLLIN)
            poll.poll(1000 * (RESCAN_SOON if soon else RESCAN))
            with suppress(BlockingIOError):
                os.read(self._wake, 4096)

    def _sync(self) -> bool:
        """Start, announce, end or remove every Job that needs it. True: scan again soon."""
        present: set[str] = set()
        busy: set[Path] = set()  # folders in the trash with a living supervisor
        soon = False
        for folder in list(job_folders(self._folder)):
            try:
                request = folder.request()
                if request is None:
                    continue
                present.add(request.uid)
                if folder.path.parent.parent != self._folder / TRASH:
                    soon |= not self._sync_job(folder, request)
                elif self._alive(folder, request.uid):
                    self._terminate(request.uid)
                    busy.add(folder.path.parent)
            except FileNotFoundError:  # it was moved to the trash meanwhile
                soon = True
            except Exception:  # one broken Job must not block the others
                logger.exception("cannot handle this Job now; it is tried again", extra=about(job=folder.path.name))
        self._announced &= present
        for trash in (self._folder / TRASH).glob("*"):
            if trash not in busy and trash not in self._removing:
                self._removing[trash] = threading.Thread(target=self._remove, args=(trash,), daemon=True)
                self._removing[trash].start()
        return soon

    def _sync_job(self, folder: JobFolder, request: JobRequest) -> bool:
        """Do what this Job needs now. False: scan again soon."""
        if self._alive(folder, request.uid):
            if folder.deleted:
                self._terminate(request.uid)
            return True
        if folder.deleted:
            event = _event(request, folder.end(), Action.DELETE)
            move_to_trash(self._folder, folder.path)
            self._announce(event)
            return False
        end = folder.end() or self._start_or_lose(folder, request)
        if end is None or request.uid in self._announced:
            return True
        if not self._announce(_event(request, end, Action.UPDATE)):
            return False
        self._announced.add(request.uid)
        return True

    def _alive(self, folder: JobFolder, uid: str) -> bool:
        """Whether the Job's supervisor lives. Adopts one that an earlier kubelet started."""
        known = self._supervisors.get(uid)
        if known is not None:
            if not _has_ended(known):
                return True
            os.close(known)
            del self._supervisors[uid]
        handle = _lock_holder(folder.lock)
        if handle is None:
            return False
        self._supervisors[uid] = handle
        logger.info("adopted a running stage", extra=about(job=folder.path.name))
        return True

    def _start_or_lose(self, folder: JobFolder, request: JobRequest) -> JobEnd | None:
        """Start the Job. If it was started before, its supervisor was killed: kill what it left and return the end."""
        if reason := launch_spec.refusal(request.job, self._options):
            refused = JobEnd(Outcome.FAILED, reason=reason)
            write_atomically(folder.end_file, msgspec.json.encode(refused))
            return refused
        if not folder.started:
            # A supervisor that cannot take the lock (for example on a full disk) is started again after a pause.
            if time.monotonic() >= self._not_before.get(request.uid, 0):
                self._not_before[request.uid] = time.monotonic() + RESCAN
                self._start(folder, request)
            return None
        self._not_before.pop(request.uid, None)
        process_tree.kill_strays(folder.path.parent)
        cgroup.remove_stale()
        # Read the end again: the stage may have ended after the first read.
        end = folder.end() or JobEnd(Outcome.LOST, reason="Lost")
        if end.outcome is Outcome.LOST:
            write_atomically(folder.end_file, msgspec.json.encode(end))
            logger.warning("a stage was lost: its supervisor was killed", extra=_about(request))
        return end

    def _start(self, folder: JobFolder, request: JobRequest) -> None:
        job = request.job
        launch_spec.prepare(folder, self._options)
        write_atomically(folder.path / "task.json", stage_command.task_json(job))
        path = folder.path / "launch.json"
        write_atomically(path, msgspec.json.encode(launch_spec.make(folder, job, self._options)))
        handle = self._launcher.launch(path)
        if handle is None:
            logger.warning("cannot start the supervisor of a stage now; it is tried again", extra=_about(request))
            return
        self._supervisors[request.uid] = handle
        logger.info("started a stage", extra=_about(request))

    def _terminate(self, uid: str) -> None:
        """Tell the supervisor to end its stage; it grants the grace period."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._supervisors[uid], signal.SIGTERM)

    def _remove(self, trash: Path) -> None:
        remove_tree(trash)
        self._removing.pop(trash, None)


def _lock_holder(lock: Path) -> int | None:
    """A pidfd of the process that holds the lock; None if nobody holds it."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return None
    handle = None
    try:
        pid = os.read(descriptor, 32)
        if pid and _is_locked(descriptor):
            handle = os.pidfd_open(int(pid))
            # Check again: if the lock is still held, the pid was not reused before the pidfd was opened.
            if _is_locked(descriptor):
                return handle
            os.close(handle)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    return None


def _is_locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _has_ended(handle: int, wait: float = 0) -> bool:
    """Whether the process has ended; waits for at most `wait` seconds."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(1000 * wait))


def _event(request: JobRequest, end: JobEnd | None, action: Action) -> ApiServerEvent:
    job, now = request.job, datetime.now(UTC)
    return pod_event(job.ref, status_of(request, end), action, str(uuid4()), now, job.traceparent)


def _about(request: JobRequest) -> dict[str, Any]:
    job = request.job
    return about(workflow=job.workflow, stage=job.stage, attempt=job.attempt)
