"""The limits of one configure run: files, bytes, time and room on the volume."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

from functions.staging.progress import ProgressReporter
from functions.staging.report import StageFailure
from functions.workflow.stage_options import FetchOptions

_SPARE = 1 << 20  # bytes to leave free on the volume


class Stopped(Exception):
    """Another file of this run failed, so this download is cancelled."""


class FetchBudget:
    """Shared by all downloads of one run. Every method may be called from any thread."""

    def __init__(
        self,
        options: FetchOptions,
        volume: Path,
        progress: ProgressReporter,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._options = options
        self._volume = volume
        self._progress = progress
        self._clock = clock
        self._deadline = clock() + options.seconds
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._sizes: dict[str, int] = {}  # by name, of the files whose size is known
        self._announced = 0  # the sum of these sizes
        self._files_total = 0
        self._files_done = 0

    def expect(self, files: int) -> None:
        """Add `files` to the number of files to fetch. Raises StageFailure if that is too many."""
        with self._lock:
            self._files_total += files
            if self._files_total > self._options.max_files:
                raise StageFailure("DataTooLarge", f"more than {self._options.max_files} files")
            self._set_totals()
        self._progress.report()

    def begin(self, name: str, size: int | None) -> None:
        """Announce a file of `size` bytes (None: unknown). Raises StageFailure if there is no room for it."""
        with self._lock:
            self._record_size(name, size)
            missing = self._announced - self._progress.bytes
        if self._announced > self._options.max_bytes:
            raise self._too_large()
        if missing > _free(self._volume) - _SPARE:
            raise StageFailure("DiskFull", f"the volume has no room for {missing} more bytes")

    def add(self, count: int) -> None:
        """Count bytes written; a negative count means bytes thrown away. Raises StageFailure and Stopped."""
        self.check()
        if self._progress.add_bytes(count) > self._options.max_bytes:
            raise self._too_large()

    def done(self, name: str, size: int) -> None:
        """Count the file as complete."""
        with self._lock:
            self._record_size(name, size)
            self._files_done += 1
            last = self._files_done == self._files_total
        self._progress.file_done()
        if last:
            self._progress.report()

    def check(self) -> None:
        """Raise StageFailure if the time is up, and Stopped if another file failed."""
        if self._stop.is_set():
            raise Stopped
        if self._clock() > self._deadline:
            raise StageFailure("DataUnavailable", f"not fetched within {self._options.seconds} seconds")

    def time_left(self) -> float:
        """Return the seconds until the deadline. Raises as `check`."""
        self.check()
        return self._deadline - self._clock()

    def stop(self) -> None:
        """Cancel all other downloads."""
        self._stop.set()

    def wait(self, seconds: float) -> None:
        """Sleep, but not past the deadline or a stop. Raises as `check`."""
        self._stop.wait(min(seconds, max(0.0, self._deadline - self._clock()) + 0.01))
        self.check()

    def _too_large(self) -> StageFailure:
        return StageFailure("DataTooLarge", f"more than {self._options.max_bytes} bytes")

    def _record_size(self, name: str, size: int | None) -> None:
        self._announced += (size or 0) - self._sizes.pop(name, 0)
        if size is not None:
            self._sizes[name] = size
        self._set_totals()

    def _set_totals(self) -> None:
        known = len(self._sizes) == self._files_total
        self._progress.set_totals(self._files_total, self._announced if known else None)


def _free(folder: Path) -> int:
    """Return the free bytes of the volume that holds `folder`."""
    found = os.statvfs(folder)
    return found.f_bavail * found.f_frsize
