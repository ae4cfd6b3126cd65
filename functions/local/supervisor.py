"""The supervisor: starts one stage, enforces its limits, writes its log, and records how it ended.

It is a process of its own, so that a stage outlives the platform. It locks its Job's folder as long as it lives, so
that a new kubelet can tell a living stage from a dead one. It imports only the standard library, and little of it.
functions/local/launch_spec.py describes its input.
"""

from __future__ import annotations

import fcntl
import json
import os
import resource
import select
import signal
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from functions.local import linux, process_tree, sandbox, usage
from functions.local.cgroup import MAX_PROCESSES, Cgroup
from functions.local.hidden_files import HiddenFiles
from functions.local.streams import Streams

GRACE = 2.0  # seconds between SIGTERM and SIGKILL
CHECK_INTERVAL = 0.05  # seconds between two checks of the limits
SHORTEST_INTERVAL = 0.002  # while memory grows so fast that it may be exceeded before the next check


def main(spec_file: Path, platform: int) -> None:
    """Run one launch spec. `platform`: a socket that is closed at its other end when the platform has ended."""
    spec = json.loads(spec_file.read_bytes())
    folder = spec_file.parent
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    if os.fstat(lock).st_size:
        return  # another supervisor had it: a stage is started once
    os.write(lock, b"%d" % os.getpid())
    # A kubelet that found the lock free may have removed the Job meanwhile. From now on it finds the lock held.
    if (folder / "deleted").exists() or not _in_place(folder / "lock", lock):
        return
    began = time.time()
    end = Supervisor(spec).run(platform)
    if end is not None:
        draft = folder / "end.draft"
        draft.write_text(json.dumps({**end, "started": began, "ended": time.time()}))
        draft.rename(folder / "end.json")


def _in_place(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


ForcedEnd = tuple[str, str, int | None]  # outcome, reason, exit code


class Supervisor:
    """Runs one stage to its end."""

    def __init__(self, spec: dict[str, Any]) -> None:
        self._spec = spec
        self._stopped = False
        self._forced_end: ForcedEnd | None = None  # set if a limit ended the stage
        self._kill_at: float | None = None
        self._next_check = 0.0
        self._next_disk_check = 0.0
        self._measured = (time.monotonic(), 0)  # when memory was last measured, and its bytes
        self._streams = Streams(spec)
        self._cgroup: Cgroup | None = None
        self._report, self._report_sender = socket.socketpair()
        self._hidden_files = HiddenFiles((spec["writable"] or ["/"])[0])
        self._system_v: list[int] = []  # the stage's own lists of usage.SYSTEM_V

    def run(self, platform: int) -> dict[str, Any] | None:
        """Return how the stage ended; None if it was told to stop."""
        wake, waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
        signal.signal(signal.SIGTERM, lambda *_: setattr(self, "_stopped", True))
        signal.signal(signal.SIGCHLD, lambda *_: None)
        linux.adopt_orphans()
        self._cgroup = Cgroup.create(self._spec["memory"]) if self._spec["memory"] else None
        try:
            ended = self._watch(wake, platform)
            self._check_end()
            out_of_memory = self._out_of_memory()
        finally:
            if self._cgroup:
                self._cgroup.remove()
        if self._stopped and self._forced_end is None:
            return None
        return self._end(*ended, out_of_memory=out_of_memory)

    def _watch(self, wake: int, platform: int) -> tuple[int, int]:
        """Run the program until nothing of it is left; its exit status, and its most memory in bytes."""
        child = self._start()
        deadline = time.monotonic() + self._spec["seconds"]
        watched = [wake, platform] if self._spec["ends_with_platform"] else [wake]
        while (ended := _reap(child)) is None:
            self._enforce(deadline)
            pause = min(max(0.0, self._next_check - time.monotonic()), CHECK_INTERVAL)
            ready, _, _ = select.select([*self._streams.open_pipes, *watched], [], [], pause)
            if wake in ready:
                os.read(wake, 4096)
            if platform in ready:  # it has ended
                self._stopped = True
                watched.remove(platform)
            for pipe in set(ready) - {wake, platform}:
                if not self._streams.copy(pipe):
                    self._streams.finish(pipe)  # every process that could print has closed it
        process_tree.kill_all()
        self._streams.drain()
        return ended

    def _start(self) -> int:
        connected = self._streams.connect()
        supervisor = os.getpid()
        child = os.fork()
        if child:
            self._streams.close_writers(connected)
            self._report_sender.close()
            return child
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            for standard, descriptor in enumerate(connected):
                os.dup2(descriptor, standard)
            if self._streams.refused:
                raise OSError(self._streams.refused)
            os.setsid()
            os.umask(0o022)
            linux.end_with_parent()
            if os.getppid() != supervisor:
                os._exit(126)  # the supervisor ended before
            self._limit()
            if self._spec["isolation"] == "trusted":
                sandbox.run_trusted(self._spec)
            sandbox.run(self._spec, self._report_sender)
        except BaseException as e:
            text, code = self._streams.failure(e)
            os.write(2, f"{text}\n".encode(errors="replace"))
            os._exit(code)
        finally:
            os._exit(126)

    def _limit(self) -> None:
        if self._cgroup:
            self._cgroup.join()
        # There is no limit on addresses: a program that is refused memory would not end as out of memory.
        if disk := self._spec["disk"]:
            # For files between two checks. A file in memory must not reach it before the memory is exceeded.
            largest = disk + 2 * self._spec["memory"]
            resource.setrlimit(resource.RLIMIT_FSIZE, (largest, largest))
        # At 1 there is no core dump. At 0 the kernel may still pipe one, with the data in it, to a program.
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))
        # The supervisor ends a stage with too many processes; this only slows down one that makes them faster.
        _, hard = resource.getrlimit(resource.RLIMIT_NPROC)
        most = 2 * MAX_PROCESSES if hard == resource.RLIM_INFINITY else min(hard, 2 * MAX_PROCESSES)
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
        Path("/proc/self/oom_score_adj").write_text("500")

    def _enforce(self, deadline: float) -> None:
        now = time.monotonic()
        if now < self._next_check:
            return
        self._next_check = now + CHECK_INTERVAL
        if self._kill_at is not None:
            if now >= self._kill_at:
                process_tree.signal_all(signal.SIGKILL)
            return
        if self._stopped:
            self._terminate(now)
        elif now >= deadline:
            self._terminate(now, ("timed out", "DeadlineExceeded", None))
        elif reason := self._exceeded_limit(now):
            self._forced_end = ("failed", reason, 137)
            self._kill_at = now
            process_tree.signal_all(signal.SIGKILL)

    def _terminate(self, now: float, forced_end: ForcedEnd | None = None) -> None:
        self._forced_end = forced_end
        self._kill_at = now + GRACE
        process_tree.signal_all(signal.SIGTERM)

    def _exceeded_limit(self, now: float) -> str:
        """The reason if the stage is above one of its limits, else empty."""
        pids = process_tree.descendants()
        if len(pids) > MAX_PROCESSES:
            return "TooManyProcesses"
        if self._spec["isolation"] == "trusted":
            return ""
        if self._out_of_memory():
            return "OOMKilled"
        processes = usage.living(pids)
        shared = usage.shared_memory(processes, self._system_v_lists())
        files = usage.open_files(processes, shared.device)
        memory, disk = self._spec["memory"], self._spec["disk"]
        if memory:
            used = usage.memory(processes, memory, files, shared)
            if used > memory:
                return "OOMKilled"
            self._next_check = now + self._until_next_check(used)
        if disk and now >= self._next_disk_check:
            gone = self._hidden_files.estimate(processes, files)
            if memory and not self._cgroup and gone.memory > memory:
                return "OOMKilled"
            reason = "DiskExceeded" if gone.disk > disk else self._exceeded_disk(sum(files.unlinked.values()))
            # A tree of many files takes long to add up: spend at most a tenth of the time on it.
            self._next_disk_check = time.monotonic() + max(0.5, 10 * (time.monotonic() - now))
            return reason
        return ""

    def _until_next_check(self, used: int) -> float:
        """Seconds: half of the time in which memory would be exceeded if it goes on growing like this."""
        now = time.monotonic()
        (before, earlier), self._measured = self._measured, (now, used)
        if used <= earlier:
            return CHECK_INTERVAL
        left: float = (self._spec["memory"] - used) * (now - before) / (used - earlier)
        return min(max(left / 2, SHORTEST_INTERVAL), CHECK_INTERVAL)

    def _exceeded_disk(self, unlinked: int = 0) -> str:
        try:
            used = unlinked + usage.disk(self._spec["writable"]) - self._streams.logged
        except usage.TooDeep:
            return "TreeTooDeep"
        return "DiskExceeded" if used > self._spec["disk"] else ""

    def _check_end(self) -> None:
        """A program may have written too much after the last check."""
        if self._spec["disk"] and self._forced_end is None and (reason := self._exceeded_disk()):
            self._forced_end = ("failed", reason, 137)

    def _out_of_memory(self) -> bool:
        return self._cgroup is not None and self._cgroup.out_of_memory()

    def _system_v_lists(self) -> list[int]:
        if not self._system_v and self._spec["isolation"] == "sandbox":
            with suppress(BlockingIOError):
                _, self._system_v, _, _ = socket.recv_fds(self._report, 1, len(usage.SYSTEM_V), socket.MSG_DONTWAIT)
        return self._system_v

    def _end(self, status: int, peak: int, *, out_of_memory: bool) -> dict[str, Any]:
        if self._forced_end is not None:
            outcome, reason, exit_code = self._forced_end
        else:
            outcome, reason, exit_code = ("failed" if status else "succeeded"), "", status
            if status < 0:
                exit_code, reason = 128 - status, "Error"
            if status in (-signal.SIGXFSZ, 128 + signal.SIGXFSZ):
                reason = "DiskExceeded"
            # The program may end between two checks.
            if out_of_memory or (status and peak > (self._spec["memory"] or peak)):
                outcome, reason, exit_code = "failed", "OOMKilled", 137
        if outcome != "succeeded" and not reason:
            reason = self._termination_reason()
        return {
            "outcome": outcome,
            "exit_code": exit_code,
            "reason": reason,
            "oom_killed": reason == "OOMKilled",
        }

    def _termination_reason(self) -> str:
        """The reason that our own program gave: the word before the colon of its termination message."""
        if self._spec["termination"] is None:
            return "Error"
        try:
            with open(self._spec["termination"], "rb") as file:
                word, colon, _ = file.read(4096).decode(errors="replace").partition(":")
        except OSError:
            return "Error"
        return word if colon and word.isalnum() and len(word) <= 64 else "Error"


def _reap(child: int) -> tuple[int, int] | None:
    """Reap ended children. Once `child` has ended, return its exit status and its peak memory in bytes."""
    while True:
        pid, status, usage = os.wait4(-1, os.WNOHANG)
        if pid == child:
            return os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024
        if pid == 0:
            return None
