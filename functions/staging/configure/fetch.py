"""One file from one source onto the disk: streamed, hashed, resumed, checked."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from functions.staging.configure.meter import Meter
from functions.staging.report import Failure
from functions.staging.retry import RetryPolicy, TransientError

CHUNK = 1 << 20  # bytes; a download holds two of them


@dataclass
class Body:
    """A file, or the rest of it. `version` marks this content; a source that cannot tell versions gives None."""

    chunks: Iterator[bytes]
    start: int
    size: int | None  # of the whole file
    version: str | None


class Source(Protocol):
    """Where a file comes from."""

    @property
    def where(self) -> str:
        """For the operator's log: without credentials and query."""
        ...

    @property
    def kind(self) -> str:
        """For everybody: `https`, `s3`, …, `provider`."""
        ...

    def open(self, start: int, version: str | None) -> AbstractContextManager[Body]:
        """The file from byte `start`, if it is still that `version`; else, and without a `version`, from 0.

        Raises Failure and Trouble.
        """
        ...


@dataclass(frozen=True)
class Fetched:
    size: int
    sha256: str


class Hash:
    """A sha256 that is computed beside the reading and writing: on another core, one piece behind."""

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


class Download:
    """The state of one file between two connections: what is on disk, and its hash so far."""

    def __init__(self, name: str, source: Source, file: BinaryIO, meter: Meter, hasher: Executor) -> None:
        self._name = name
        self._source = source
        self._file = file
        self._meter = meter
        self._version: str | None = None
        self._size: int | None = None
        self._position = 0
        self._hasher = hasher
        self._hash = Hash(hasher)
        self._furthest = 0

    def run(self, patience: RetryPolicy) -> Fetched:
        """Go on until all is there. Raises Failure, once nothing has come for `patience.tries` connections."""
        patience.persist(self._name, self._connect, self._meter.wait, lambda: self._furthest)
        return Fetched(self._position, self._hash.hex())

    def _connect(self) -> None:
        try:
            self._receive()
        except TransientError as trouble:
            if trouble.restart:
                self._version = None
            raise
        if self._size is not None and self._position != self._size:
            raise TransientError(f"{self._position} of {self._size} bytes came")

    def _receive(self) -> None:
        with self._source.open(self._position, self._version) as body:
            if body.start != self._position or body.version != self._version:
                self._restart(body)
            elif body.start and body.size != self._size:
                raise TransientError("the file has another size than before", restart=True)
            if body.size != self._size:
                self._size = body.size
                self._meter.begin(self._name, body.size)
            for chunk in body.chunks:
                self._take(chunk)

    def _restart(self, body: Body) -> None:
        if body.start:
            raise TransientError("the server continues another file")
        self._meter.add(-self._position)
        self._file.seek(0)
        self._file.truncate()
        self._hash = Hash(self._hasher)
        self._position = 0
        self._version = body.version

    def _take(self, chunk: bytes) -> None:
        self._meter.add(len(chunk))
        self._hash.update(chunk)
        self._file.write(chunk)
        self._position += len(chunk)
        self._furthest = max(self._furthest, self._position)


def fetch(
    name: str,
    source: Source,
    target: Path,
    drafts: Path,
    meter: Meter,
    patience: RetryPolicy,
    sha256: str | None = None,
) -> Fetched:
    """Bring `source` to `target`, which appears only when it is whole; `name` is what people are told.

    Raises Failure: DataUnavailable, ChecksumMismatch, DataTooLarge, DataForbidden, DiskFull; and Stopped.
    """
    draft = drafts / name.replace("/", "_")
    with room():
        with open(draft, "wb") as file, ThreadPoolExecutor(1) as hasher:
            meter.begin(name, None)
            fetched = Download(name, source, file, meter, hasher).run(patience)
        _verify(fetched, sha256)
        os.chmod(draft, 0o644)
        os.replace(draft, target)
    meter.done(name, fetched.size)
    return fetched


@contextmanager
def room() -> Iterator[None]:
    """A full volume is a Failure (DiskFull) and no crash: another attempt would find it as full."""
    try:
        yield
    except OSError as e:
        if e.errno in (errno.ENOSPC, errno.EDQUOT):
            raise Failure("DiskFull", "the volume is full") from None
        raise


def _verify(fetched: Fetched, expected: str | None) -> None:
    if expected and expected.lower().removeprefix("sha256:") != fetched.sha256:
        raise Failure("ChecksumMismatch", "its sha256 is not the one in the workflow")
