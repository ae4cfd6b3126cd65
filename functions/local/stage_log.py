"""The log of a stage: a file of limited size. Only the standard library."""

from __future__ import annotations

import os

CUT = b"\n[the log is cut here: it is at its limit]\n"


class StageLog:
    """A file of at most `limit` bytes, and a note where it was cut. The rest is dropped. Raises OSError."""

    def __init__(self, path: str, limit: int) -> None:
        # An earlier stage may have put a link or a pipe there.
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_NONBLOCK
        self._file = os.open(path, flags, 0o644)
        self._left = limit
        self._cut = False
        self.size = 0  # bytes written

    def write(self, text: bytes) -> None:
        """Append what fits. Never raises: the disk may be full."""
        kept = text[: self._left]
        self._left -= len(kept)
        try:
            self.size += os.write(self._file, kept)
            if len(kept) < len(text) and not self._cut:
                self._cut = True
                self.size += os.write(self._file, CUT)
        except OSError:  # the disk is full
            self._left, self._cut = 0, True
