"""Counts what is fetched: against the caps of the environment, and for whoever waits."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path

from functions.staging.progress import EVERY, Tell, tell
from functions.staging.report import Failure
from functions.workflow.environment import FetchPolicy
from functions.workflow.progress import Progress

_SPARE = 1 << 20  # bytes to leave on the volume


class Stopped(Exception):
    """Another file failed; this one is given up with it."""


class Meter:
    """Shared by all downloads of one run; every method may be called from any thread."""

    def __init__(
        self, policy: FetchPolicy, volume: Path, tell: Tell = tell, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._policy = policy
        self._volume = volume
        self._tell = tell
        self._clock = clock
        self._deadline = clock() + policy.seconds
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._sizes: dict[str, int] = {}  # of the files whose size is known
        self._announced = 0  # their sum
        self._files = 0
        self._files_total = 0
        self._bytes = 0
        self._told = 0.0

    def expect(self, files: int) -> None:
        """So many files more will be fetched. Raises Failure if that is too many."""
        with self._lock:
            self._files_total += files
            if self._files_total > self._policy.max_files:
                raise Failure("DataTooLarge", f"more than {self._policy.max_files} files")
        self._show(force=True)

    def begin(self, name: str, size: int | None) -> None:
        """A file of this size comes next (None: unknown). Raises Failure if it cannot fit."""
        with self._lock:
            self._note(name, size)
            missing = self._announced - self._bytes
        if self._announced > self._policy.max_bytes:
            raise self._too_large()
        if missing > shutil.disk_usage(self._volume).free - _SPARE:
            raise Failure("DiskFull", f"the volume has no room for {missing} more bytes")
        self._show()

    def add(self, count: int) -> None:
        """So many bytes more are on disk; negative: they were thrown away. Raises Failure and Stopped."""
        self.check()
        with self._lock:
            self._bytes += count
            if self._bytes > self._policy.max_bytes:
                raise self._too_large()
        self._show()

    def done(self, name: str, size: int) -> None:
        """That file is complete."""
        with self._lock:
            self._note(name, size)
            self._files += 1
        self._show(force=self._files == self._files_total)

    def check(self) -> None:
        """Raises Failure if the time is up, Stopped if somebody else failed."""
        if self._stop.is_set():
            raise Stopped
        if self._clock() > self._deadline:
            raise Failure("DataUnavailable", f"not fetched within {self._policy.seconds} seconds")

    def stop(self) -> None:
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Sleep, but not past the deadline or a stop. Raises as `check`."""
        self._stop.wait(min(seconds, max(0.0, self._deadline - self._clock()) + 0.01))
        self.check()

    def _too_large(self) -> Failure:
        return Failure("DataTooLarge", f"more than {self._policy.max_bytes} bytes")

    def _note(self, name: str, size: int | None) -> None:
        self._announced += (size or 0) - self._sizes.pop(name, 0)
        if size is not None:
            self._sizes[name] = size

    def _show(self, *, force: bool = False) -> None:
        with self._lock:
            now = self._clock()
            if not force and now - self._told < EVERY:
                return
            self._told = now
            known = len(self._sizes) == self._files_total
            self._tell(Progress(self._files, self._files_total, self._bytes, self._announced if known else None))


def replace(path: Path, data: bytes) -> None:
    """Write a small file so that a reader, or a death in between, never meets half of it."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(data)
    os.replace(draft, path)
