"""How far publish is, as a file that the status API and the CLI can show."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import msgspec

_SECONDS = 0.5  # at most one write in this time


class Progress:
    """Counts from several threads. A disk that is full loses the progress, not the results."""

    def __init__(self, path: Path, files_total: int, bytes_total: int) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._counts = {"files": 0, "files_total": files_total, "bytes": 0, "bytes_total": bytes_total}
        self._written = 0.0
        self.write()

    def read(self, size: int) -> None:
        with self._lock:
            self._counts["bytes"] += size
            due = time.monotonic() - self._written > _SECONDS
            self._written = time.monotonic() if due else self._written
        if due:
            self.write()

    def finished(self, files: int) -> None:
        with self._lock:
            self._counts["files"] = files

    def write(self) -> None:
        with self._lock:
            unfinished = self._path.with_suffix(".unfinished")
            try:
                unfinished.write_bytes(msgspec.json.encode(self._counts))
                os.replace(unfinished, self._path)
            except OSError:
                unfinished.unlink(missing_ok=True)
