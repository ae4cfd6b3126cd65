"""Data sources that need no network: the workflow document itself, and files of this machine."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from functions.staging.configure.fetch import CHUNK, Body
from functions.staging.report import StageFailure


class TextSource(NamedTuple):
    """A text in the workflow document itself: `rawcode`."""

    text: str
    where: str = "the workflow document"
    kind: str = "rawcode"  # of a TES task: `content`

    @contextmanager
    def open(self, start: int, version: str | None) -> Iterator[Body]:
        data = self.text.encode()
        yield Body(iter([data]), 0, len(data), None)


class FileSource(NamedTuple):
    """A file of this machine. Only the laptop allows it."""

    path: str
    kind: str = "file"

    @property
    def where(self) -> str:
        return f"file://{self.path}"

    @contextmanager
    def open(self, start: int, version: str | None) -> Iterator[Body]:
        with open(self._descriptor(), "rb", buffering=0) as file:
            yield Body(iter(lambda: file.read(CHUNK), b""), 0, os.fstat(file.fileno()).st_size, None)

    def _descriptor(self) -> int:
        try:
            # O_NONBLOCK: opening a named pipe must not block.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as e:
            raise StageFailure("DataUnavailable", f"{self.path}: {e.strerror}") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise StageFailure("DataUnavailable", f"{self.path}: not a regular file")
        return descriptor
