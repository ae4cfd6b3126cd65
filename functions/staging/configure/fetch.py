"""Downloads one file from one source: streamed to disk, hashed, resumed, checked."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from functions.staging.configure.budget import FetchBudget
from functions.staging.report import StageFailure
from functions.staging.retry import RetryPolicy, TransientError

CHUNK = 1 << 20  # bytes; a download holds two of them


class Body(NamedTuple):
    """The bytes of a file from `start` on. `version` identifies the content; None if the source has no versions."""

    chunks: Iterator[bytes]
    start: int
    size: int | None  # of the whole file
    version: str | None


class DataSource(Protocol):
    """The origin of a file."""

    @property
    def where(self) -> str:
        """The place, for the operator's log: without credentials and query."""
        ...

    @property
    def kind(self) -> str:
        """The kind of source, which everybody may see: `https`, `s3`, …, `provider`."""
        ...

    def open(self, start: int, version: str | None) -> AbstractContextManager[Body]:
        """Open the file at byte `start` if its content is still `version`. Otherwise the body starts at 0.

        Raises StageFailure and TransientError.
        """
        ...


class Fetched(NamedTuple):
    """The size in bytes and the sha256, in hex, of a complete file."""

    size: int
    sha256: str


class Hash:
    """A sha256 that is computed on another thread, one chunk behind the writer."""

    def __init__(self, worker: Executor) -> None:
        self._worker = worker
        self._digest = hashlib.sha256()
        self._pending: Future[None] | None = None

    def update(self, piece: bytes) -> None:
        self._catch_up()
        self._pending = self._worker.submit(self._digest.update, piece)

    def hex(self) -> str:
        self._catch_up()
        return self._digest.hexdigest()

    def _catch_up(self) -> None:
        if self._pending is not None:
            self._pending.result()


class ResumableDownload:
    """The state of one file across several connections: the bytes on disk, and their hash."""

    def __init__(self, name: str, source: DataSource, file: BinaryIO, budget: FetchBudget, hasher: Executor) -> None:
        self._name = name
        self._source = source
        self._file = file
        self._budget = budget
        self._version: str | None = None
        self._size: int | None = None
        self._position = 0
        self._hasher = hasher
        self._hash = Hash(hasher)
        self._furthest = 0

    def run(self, retries: RetryPolicy) -> Fetched:
        """Connect until the file is complete. Raises StageFailure after `retries.tries` connections without a byte."""
        retries.call(self._name, self._connect, self._budget.wait, lambda: self._furthest)
        return Fetched(self._position, self._hash.hex())

    def _connect(self) -> None:
        try:
            self._receive()
        except TransientError as error:
            if error.restart:
                self._version = None
            raise
        if self._size is not None and self._position != self._size:
            raise TransientError(f"only {self._position} of {self._size} bytes arrived")

    def _receive(self) -> None:
        with self._source.open(self._position, self._version) as body:
            if body.start != self._position or body.version != self._version:
                self._restart(body)
            elif body.start and body.size != self._size:
                raise TransientError("the size of the file changed", restart=True)
            if body.size != self._size:
                self._size = body.size
                self._budget.begin(self._name, body.size)
            for chunk in body.chunks:
                self._take(chunk)

    def _restart(self, body: Body) -> None:
        if body.start:
            raise TransientError("the server continues at another byte than requested")
        self._budget.add(-self._position)
        self._file.seek(0)
        self._file.truncate()
        self._hash = Hash(self._hasher)
        self._position = 0
        self._version = body.version

    def _take(self, chunk: bytes) -> None:
        self._budget.add(len(chunk))
        self._hash.update(chunk)
        self._file.write(chunk)
        self._position += len(chunk)
        self._furthest = max(self._furthest, self._position)


def fetch(
    name: str,
    source: DataSource,
    target: Path,
    drafts: Path,
    budget: FetchBudget,
    retries: RetryPolicy,
    sha256: str | None = None,
) -> Fetched:
    """Download `source` to `target`, which appears only when it is complete. `name` stands in messages.

    Raises StageFailure (DataUnavailable, ChecksumMismatch, DataTooLarge, DataForbidden, DiskFull) and Stopped.
    """
    draft = drafts / name.replace("/", "_")
    with disk_full_fails():
        with open(draft, "wb") as file, ThreadPoolExecutor(1) as hasher:
            budget.begin(name, None)
            fetched = ResumableDownload(name, source, file, budget, hasher).run(retries)
        _verify(fetched, sha256)
        os.chmod(draft, 0o644)
        os.replace(draft, target)
    budget.done(name, fetched.size)
    return fetched


def write_atomically(path: Path, data: bytes) -> None:
    """Write a small file under a temporary name, then rename it, so that no reader sees half of it."""
    draft = path.with_name(f".{path.name}.new")
    draft.write_bytes(data)
    os.replace(draft, path)


@contextmanager
def disk_full_fails() -> Iterator[None]:
    """Turn a full volume into StageFailure (DiskFull): another attempt would find the same full volume."""
    try:
        yield
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise StageFailure("DiskFull", "the volume is full") from None
        raise


def _verify(fetched: Fetched, expected: str | None) -> None:
    if expected and expected.lower().removeprefix("sha256:") != fetched.sha256:
        raise StageFailure("ChecksumMismatch", "the file does not have the sha256 that the workflow states")
