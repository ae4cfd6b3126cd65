"""The process above one stage: starts it, keeps it within its limits, writes its log and how it ended.

It is a process of its own, so that a stage outlives the platform. It holds the lock of its Job's folder as long as it
lives, so that a new kubelet can tell a living stage from a dead one. Only the standard library, and of it little: it is
started for every stage. What it is to do is a plan, see functions/local/launch_spec.py.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from functions.local import process_tree, sandbox

GRACE = 2.0  # seconds between SIGTERM and SIGKILL
LOOK = 0.05  # seconds between two looks at the memory
CUT = b"\n[the log is cut here: it is at its limit]\n"
MOST_PROCESSES = 4096


def wait_for_spec(folder: str) -> None:
    """Run the launch spec below `folder` that stdin names. Do nothing if the kubelet ends before it names one."""
    name = sys.stdin.readline()
    if name.endswith("\n"):
        main(Path(folder, name[:-1]))
    # The kubelet waits for the end of this process, so skip the clean-up of Python.
    os._exit(0)


def main(plan_file: Path) -> None:
    plan = json.loads(plan_file.read_bytes())
    folder = plan_file.parent
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.fstat(lock).st_size:
        return  # another supervisor had it: a stage is started once
    os.write(lock, b"%d" % os.getpid())
    # A kubelet that found the lock free may have removed the Job meanwhile. From now on it finds the lock held.
    if (folder / "deleted").exists() or not _in_place(folder / "lock", lock):
        return
    end = Supervisor(plan).run()
    if end is not None:
        draft = folder / "end.draft"
        draft.write_text(json.dumps(end))
        draft.rename(folder / "end.json")


def _in_place(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


class Supervisor:
    """Runs one stage to its end."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._plan = plan
        self._stopped = False
        self._verdict: tuple[str, str, int | None] | None = None  # why it was killed: outcome, reason, exit code
        self._kill_at: float | None = None
        self._next_look = 0.0
        self._next_disk_look = 0.0

    def run(self) -> dict[str, Any] | None:
        """How the stage ended; None if it was told to stop."""
        wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_stopped", True))
        signal.signal(signal.SIGCHLD, lambda *_: None)
        sandbox.adopt_orphans()
        log = Log(self._plan["log"], self._plan["log_bytes"])
        output, child = self._start()
        deadline = time.monotonic() + self._plan["seconds"]
        watched = [output, wake]
        while (ended := _reap(child)) is None:
            self._enforce(deadline)
            ready, _, _ = select.select(watched, [], [], LOOK)
            if wake in ready:
                os.read(wake, 4096)
            if output in ready and not _copy(output, log):
                watched.remove(output)  # all that could print have closed it
        process_tree.kill_all()
        while _copy(output, log):
            pass
        if self._stopped and self._verdict is None:
            return None
        return self._end(*ended)

    def _start(self) -> tuple[int, int]:
        output, stdout = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(output, False)
        with suppress(OSError):  # fewer switches between writer and reader, where the user may have that much
            fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, 1 << 20)
        child = os.fork()
        if child:
            os.close(stdout)
            return output, child
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
            os.dup2(stdout, 1)
            os.dup2(stdout, 2)
            os.setsid()
            sandbox.die_with_parent()
            self._limit()
            sandbox.run(self._plan)
        except BaseException as e:
            os.write(2, f"the stage could not be started: {e}\n".encode())
        finally:
            os._exit(126)

    def _limit(self) -> None:
        # Memory is watched, not limited: a program that is refused memory ends in its own way, not as out of memory.
        if disk := self._plan["disk"]:
            resource.setrlimit(resource.RLIMIT_FSIZE, (disk, disk))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        Path("/proc/self/oom_score_adj").write_text("500")

    def _enforce(self, deadline: float) -> None:
        now = time.monotonic()
        if now < self._next_look:
            return
        self._next_look = now + LOOK
        if self._kill_at is not None:
            if now >= self._kill_at:
                process_tree.signal_all(signal.SIGKILL)
            return
        if self._stopped:
            self._end_it(now)
        elif now >= deadline:
            self._end_it(now, ("timed out", "DeadlineExceeded", None))
        elif broken := self._broken_limit(now):
            self._verdict = broken
            self._kill_at = now
            process_tree.signal_all(signal.SIGKILL)

    def _end_it(self, now: float, verdict: tuple[str, str, int | None] | None = None) -> None:
        self._verdict = verdict
        self._kill_at = now + GRACE
        process_tree.signal_all(signal.SIGTERM)

    def _broken_limit(self, now: float) -> tuple[str, str, int | None] | None:
        pids = process_tree.descendants()
        if self._plan["memory"] and process_tree.memory(pids, self._plan["memory"]) > self._plan["memory"]:
            return "failed", "OOMKilled", 137
        if len(pids) > MOST_PROCESSES:
            return "failed", "TooManyProcesses", 137
        if self._plan["disk"] and now >= self._next_disk_look:
            size = sum(process_tree.size(folder) for folder in self._plan["outputs"])
            # A tree of many files takes long to add up: never more than a tenth of the time.
            self._next_disk_look = time.monotonic() + max(0.5, 10 * (time.monotonic() - now))
            if size > self._plan["disk"]:
                return "failed", "DiskExceeded", 137
        return None

    def _end(self, status: int, peak: int) -> dict[str, Any]:
        if self._verdict is not None:
            outcome, reason, exit_code = self._verdict
        else:
            outcome, reason, exit_code = ("failed" if status else "succeeded"), "", status
            if status < 0:
                exit_code, reason = 128 - status, "Error"
            if status in (-signal.SIGXFSZ, 128 + signal.SIGXFSZ):
                reason = "DiskExceeded"
            # It was faster than the watch.
            if status and self._plan["memory"] and peak > self._plan["memory"]:
                reason, exit_code = "OOMKilled", 137
        if outcome != "succeeded" and not reason:
            reason = self._said()
        return {
            "outcome": outcome,
            "exit_code": exit_code,
            "reason": reason,
            "oom_killed": reason == "OOMKilled",
        }

    def _said(self) -> str:
        """What the stage's program says itself: the word before the colon of its termination message."""
        if self._plan["termination"] is None:
            return "Error"
        try:
            with open(self._plan["termination"], "rb") as file:
                word, colon, _ = file.read(4096).decode(errors="replace").partition(":")
        except OSError:
            return "Error"
        return word if colon and word.isalnum() and len(word) <= 64 else "Error"


class Log:
    """A file of at most `limit` bytes and a note where it was cut. What does not fit, or fails, is dropped."""

    def __init__(self, path: str, limit: int) -> None:
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o644)
        self._left = limit
        self._cut = False

    def write(self, text: bytes) -> None:
        kept = text[: self._left]
        self._left -= len(kept)
        try:
            os.write(self._file, kept)
            if len(kept) < len(text) and not self._cut:
                self._cut = True
                os.write(self._file, CUT)
        except OSError:  # the disk is full
            self._left, self._cut = 0, True


def _reap(child: int) -> tuple[int, int] | None:
    """The exit status of `child` and the most memory it had, in bytes, once it has ended; buries orphans meanwhile."""
    while True:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
        if pid == child:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        if pid == 0:
            return None


def _copy(output: int, log: Log) -> bool:
    """Take what was printed; the program is never held up, whatever becomes of its text. False: nothing was there."""
    try:
        chunk = os.read(output, 1 << 20)
    except BlockingIOError:
        return False
    log.write(chunk)
    return bool(chunk)
