"""Counts what is published, for whoever waits."""

from __future__ import annotations

import threading
import time

from functions.staging.progress import EVERY, Tell, tell
from functions.workflow.progress import Progress


class Tally:
    """Counts what the consumer gets, from any thread."""

    def __init__(self, files_total: int, bytes_total: int, tell: Tell = tell) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._files, self._files_total = 0, files_total
        self._bytes, self._bytes_total = 0, bytes_total
        self._told = 0.0
        self.end()

    def add(self, size: int) -> None:
        """So many bytes more were read; negative: they will be read again."""
        with self._lock:
            self._bytes += size
            if time.monotonic() - self._told > EVERY:
                self._show()

    def file_done(self) -> None:
        with self._lock:
            self._files += 1

    def end(self) -> None:
        """Tell the counts as they are now."""
        with self._lock:
            self._show()

    def _show(self) -> None:
        self._told = time.monotonic()
        self._tell(Progress(self._files, self._files_total, self._bytes, self._bytes_total))
