"""What a kubelet does: looks at the Jobs that were asked for, has each run once, and tells what became of them.

One per platform. It keeps nothing that it could not read again from the folder, so it may die at any moment: the
stages go on under their supervisors, and the next node takes them up.
"""

from __future__ import annotations

import fcntl
import logging
import os
import select
import shutil
import signal
import subprocess
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
from functions.cluster.events import Action, ApiServerEvent, job_event
from functions.cluster.processes import (
    TRASH,
    WAKE,
    JobEnd,
    JobFolder,
    JobRequest,
    job_folders,
    move_to_trash,
    status_of,
    write_atomically,
)
from functions.local import launch_spec, process_tree
from functions.local.isolation import Isolation
from functions.local.warm_supervisor import Standby
from functions.log import about
from functions.workflow.model import Outcome

logger = logging.getLogger(__name__)

# Without any wake-up the folder is looked at this often, in seconds.
RESCAN = 5.0
# … and as long as something is being removed, or was announced to nobody.
SOON = 0.2


class Node:
    """Runs Jobs below `folder`. `announce` sends an event and says whether it was taken."""

    def __init__(self, folder: Path, announce: Callable[[ApiServerEvent], bool], isolation: Isolation) -> None:
        self._folder = folder
        self._announce = announce
        self._isolation = isolation
        self._supervisors: dict[str, int] = {}  # uid → a handle on the process
        self._children: dict[str, subprocess.Popen[bytes]] = {}
        self._told: set[str] = set()  # uids whose end was announced and whose folder is still there
        self._not_before: dict[str, float] = {}  # uid → when it may be started again
        self._removing: dict[Path, threading.Thread] = {}
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="node", daemon=True)
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.mkfifo(folder / WAKE, 0o600)
        # Open for writing as well: a pipe whose last writer has gone is readable for ever.
        self._wake = os.open(folder / WAKE, os.O_RDWR | os.O_NONBLOCK)
        self._standby = Standby(folder)

    def start(self) -> None:
        self._thread.start()

    def stop(self, *, end_stages: bool) -> None:
        """Look no more. What runs goes on and is taken up by the next node, unless `end_stages`."""
        self._stopping = True
        os.write(self._wake, b"!")
        self._thread.join()
        self._standby.close()
        for uid in self._supervisors if end_stages else ():
            self._terminate(uid)
        for handle in self._supervisors.values():
            if end_stages:
                _ended(handle, wait=5)
            os.close(handle)
        for child in self._children.values():
            child.poll()
        for removal in list(self._removing.values()):
            removal.join(timeout=5)
        os.close(self._wake)

    @property
    def running(self) -> int:
        return len(self._supervisors)

    def _run(self) -> None:
        while not self._stopping:
            soon = self._look()
            poll = select.poll()
            for descriptor in (self._wake, *self._supervisors.values()):
                poll.register(descriptor, select.POLLIN)
            poll.poll(1000 * (SOON if soon else RESCAN))
            with suppress(BlockingIOError):
                os.read(self._wake, 4096)

    def _look(self) -> bool:
        """Bring every Job nearer to what was asked for. True: look again soon."""
        present: set[str] = set()
        busy: set[Path] = set()  # in the trash, and something of it still lives
        soon = False
        for folder in list(job_folders(self._folder)):
            try:
                request = folder.request()
                if request is None:
                    continue
                present.add(request.uid)
                if folder.path.parent.parent != self._folder / TRASH:
                    soon |= not self._settle(folder, request)
                elif self._alive(folder, request.uid):
                    self._terminate(request.uid)
                    busy.add(folder.path.parent)
            except FileNotFoundError:  # it was thrown away meanwhile
                soon = True
            except Exception:  # one Job must not keep the node from the others
                logger.exception("cannot be handled now", extra=about(job=folder.path.name))
        self._told &= present
        for trash in (self._folder / TRASH).glob("*"):
            if trash not in busy and trash not in self._removing:
                self._removing[trash] = threading.Thread(target=self._remove, args=(trash,), daemon=True)
                self._removing[trash].start()
        return soon

    def _settle(self, folder: JobFolder, request: JobRequest) -> bool:
        """Do what this Job needs now. False: it needs another look soon."""
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
        if end is None or request.uid in self._told:
            return True
        if not self._announce(_event(request, end, Action.UPDATE)):
            return False
        self._told.add(request.uid)
        return True

    def _alive(self, folder: JobFolder, uid: str) -> bool:
        """Whether its supervisor lives; takes up one that an earlier node started."""
        known = self._supervisors.get(uid)
        if known is not None:
            if not _ended(known):
                return True
            os.close(known)
            del self._supervisors[uid]
            if child := self._children.pop(uid, None):
                child.wait()
            return False
        handle = _holder(folder.lock)
        if handle is None:
            return False
        self._supervisors[uid] = handle
        logger.info("taken up", extra=about(job=folder.path.name))
        return True

    def _start_or_lose(self, folder: JobFolder, request: JobRequest) -> JobEnd | None:
        """Start the Job, unless it was started before: then its supervisor was killed, and what it ran with it."""
        if not folder.started:
            # A supervisor that could not even take the lock (a full disk) is not tried again at once.
            if time.monotonic() >= self._not_before.get(request.uid, 0):
                self._not_before[request.uid] = time.monotonic() + RESCAN
                self._start(folder, request)
            return None
        self._not_before.pop(request.uid, None)
        process_tree.kill_strays(folder.path.parent)
        # It may have ended between the look at its end and the look at its supervisor.
        end = folder.end() or JobEnd(Outcome.LOST, reason="Lost")
        if end.outcome is Outcome.LOST:
            write_atomically(folder.end_file, msgspec.json.encode(end))
            logger.warning("lost", extra=_about(request))
        return end

    def _start(self, folder: JobFolder, request: JobRequest) -> None:
        job = request.job
        launch_spec.prepare(folder)
        write_atomically(folder.path / "task.json", stage_command.task_json(job))
        path = folder.path / "plan.json"
        write_atomically(path, msgspec.json.encode(launch_spec.make(folder, job, self._isolation)))
        child = self._standby.supervise(path)
        self._supervisors[request.uid] = os.pidfd_open(child.pid)
        self._children[request.uid] = child
        self._standby.prepare()
        logger.info("started", extra=_about(request))

    def _terminate(self, uid: str) -> None:
        """Have the stage ended; its supervisor gives it the grace."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._supervisors[uid], signal.SIGTERM)

    def _remove(self, trash: Path) -> None:
        _empty(trash)
        self._removing.pop(trash, None)


def _holder(lock: Path) -> int | None:
    """A handle on the process that holds the lock; None if nobody does."""
    try:
        descriptor = os.open(lock, os.O_RDONLY)
    except FileNotFoundError:
        return None
    handle = None
    try:
        pid = os.read(descriptor, 32)
        if pid and _held(descriptor):
            handle = os.pidfd_open(int(pid))
            # Still held after the handle was got: so the number was not given to another process meanwhile.
            if _held(descriptor):
                return handle
            os.close(handle)
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    return None


def _held(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    fcntl.flock(descriptor, fcntl.LOCK_UN)
    return False


def _ended(handle: int, wait: float = 0) -> bool:
    """Whether the process has ended, after at most `wait` seconds."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    return bool(poll.poll(1000 * wait))


def _empty(folder: Path) -> None:
    """Remove a folder, also where an algorithm left folders that even their owner cannot empty."""
    for path, names, _ in os.walk(folder):
        for inner in (os.path.join(path, name) for name in names):
            if not os.path.islink(inner):
                os.chmod(inner, 0o700)
    shutil.rmtree(folder, ignore_errors=True)


def _event(request: JobRequest, end: JobEnd | None, action: Action) -> ApiServerEvent:
    return job_event(request.job.ref, status_of(request, end), action, str(uuid4()), datetime.now(UTC))


def _about(request: JobRequest) -> dict[str, Any]:
    job = request.job
    return about(workflow=job.workflow, stage=job.stage, attempt=job.attempt)
