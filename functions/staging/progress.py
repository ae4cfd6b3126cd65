"""Counts files and bytes, and prints the counts on stderr in the line format of functions/workflow/progress_line.py."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress

from functions.workflow.progress_line import Progress, line

EVERY = 1.0  # seconds between two lines

Sink = Callable[[Progress], None]


def print_line(progress: Progress) -> None:
    """Print one progress line on stderr. A closed stderr is not an error."""
    with suppress(OSError, ValueError):
        sys.stderr.write(line(progress))


class ProgressReporter:
    """The counts of one stage, reported to `sink` at most once a second. Every method may be called from any thread."""

    def __init__(self, sink: Sink = print_line, clock: Callable[[], float] = time.monotonic) -> None:
        self._sink = sink
        self._clock = clock
        self._lock = threading.Lock()
        self._files = self._files_total = self._bytes = 0
        self._bytes_total: int | None = None
        self._reported = 0.0

    @property
    def bytes(self) -> int:
        """Bytes so far."""
        return self._bytes

    def set_totals(self, files: int, size: int | None) -> None:
        """Set how many files and bytes there are; None while a size is unknown."""
        with self._lock:
            self._files_total, self._bytes_total = files, size

    def add_bytes(self, count: int) -> int:
        """Add `count` bytes and return the new sum. A negative count means that bytes will come again."""
        with self._lock:
            self._bytes += count
            self._report_if_due()
            return self._bytes

    def file_done(self) -> None:
        """Count one file as complete."""
        with self._lock:
            self._files += 1
            self._report_if_due()

    def report(self) -> None:
        """Report the counts now."""
        with self._lock:
            self._reported = self._clock()
            self._sink(Progress(self._files, self._files_total, self._bytes, self._bytes_total))

    def _report_if_due(self) -> None:
        now = self._clock()
        if now - self._reported > EVERY:
            self._reported = now
            self._sink(Progress(self._files, self._files_total, self._bytes, self._bytes_total))
