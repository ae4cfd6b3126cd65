"""How far publish is, as a file that the status API and the CLI can show."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from pathlib import Path

import msgspec

from functions.staging.meter import replace

_EVERY = 0.5  # seconds between two looks of the file


class Progress:
    """`files`, `files_total`, `bytes`, `bytes_total` of what the consumer gets, from any thread.

    A disk that is full loses the progress, not the results.
    """

    def __init__(self, path: Path, files_total: int, bytes_total: int) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._files, self._files_total = 0, files_total
        self._bytes, self._bytes_total = 0, bytes_total
        self._written = 0.0
        self.end()

    def add(self, size: int) -> None:
        """So many bytes more were read; negative: they will be read again."""
        with self._lock:
            self._bytes += size
            if time.monotonic() - self._written > _EVERY:
                self._write()

    def file_done(self) -> None:
        with self._lock:
            self._files += 1

    def end(self) -> None:
        """Write the counts as they are now."""
        with self._lock:
            self._write()

    def _write(self) -> None:
        self._written = time.monotonic()
        counts = {
            "files": self._files,
            "files_total": self._files_total,
            "bytes": self._bytes,
            "bytes_total": self._bytes_total,
        }
        with suppress(OSError):
            replace(self._path, msgspec.json.encode(counts))
