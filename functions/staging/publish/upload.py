"""Uploads one open file: hashes it, encrypts it if requested, retries, and notices changes."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import TYPE_CHECKING, Protocol

from msgspec import Struct
from msgspec.structs import replace

from functions.backoff import Backoff
from functions.results.layout import held_path
from functions.results.ports import StorageFull, StorageRefused, StorageUnavailable
from functions.staging.progress import ProgressReporter
from functions.staging.publish.names import storage_path
from functions.staging.publish.tree import TreeChanged
from functions.staging.report import StageFailure
from functions.staging.retry import jittered
from functions.workflow import volume_layout
from functions.workflow.model import ResultFile

if TYPE_CHECKING:
    import mimetypes

CHUNK = 1 << 20
TRIES = 5
BACKOFF = Backoff(first=0.5, factor=2, longest=4)

# Ocean's types by path. Its clients spell `configrationLog` so.
_TYPES = {
    volume_layout.ALGORITHM_LOG: "algorithmLog",
    volume_layout.UNFILTERED_LOG: "algorithmLog",
    volume_layout.CONFIGURE_LOG: "configrationLog",
    volume_layout.FILTER_LOG: "filteringLog",
    volume_layout.CHECK_LOG: "checkLog",
    volume_layout.CHECKS_REPORT: "checksReport",
    volume_layout.PUBLISH_LOG: "publishLog",
}


class OpenFile(Struct, frozen=True):
    """An open file to publish as `path`. Uploading closes `fd`."""

    path: str
    fd: int
    cut_at: int | None = None  # logs: publish at most this many bytes, and add a line that says so
    recipient: str | None = None  # an age recipient to encrypt to
    key: str = ""  # where it goes, if not below the uploader's folder


class StreamFile(Struct, frozen=True):
    """A file to publish as `path` that comes from elsewhere. Each call of `read` begins anew."""

    path: str
    read: Callable[[], Iterator[bytes]]
    size: Callable[[], int]  # bytes, as expected when it begins
    recipient: str | None = None  # an age recipient to encrypt to
    key: str = ""  # where it goes, if not below the uploader's folder


class Destination(Protocol):
    """What takes files: a storage of results, or the URLs that a client gave."""

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        """See functions/results/ports.py."""
        ...


class Uploader(Struct, frozen=True):
    """Uploads files to `folder` of a storage."""

    storage: Destination
    folder: str  # `<workflow>/<attempt>`
    progress: ProgressReporter | None = None
    sleep: Callable[[float], None] = time.sleep

    def upload(self, file: OpenFile) -> ResultFile:
        """Upload the file, with retries. Raises StageFailure."""
        try:
            return self.upload_stream(
                StreamFile(
                    file.path, lambda: self._chunks(file), lambda: os.fstat(file.fd).st_size, file.recipient, file.key
                )
            )
        finally:
            os.close(file.fd)

    def upload_stream(self, file: StreamFile) -> ResultFile:
        """Upload what comes from elsewhere, with retries. Raises StageFailure, and what `read` raises."""
        tries = 0
        while True:
            tries += 1
            try:
                return self._try(file)
            except (StorageUnavailable, TreeChanged) as e:
                if tries == TRIES or isinstance(e, StorageRefused):
                    raise upload_failure(file.path, e) from e
                logging.warning("%s: trying again: %s", file.path, e)
                self.sleep(jittered(BACKOFF.delay(tries)))

    def _try(self, file: StreamFile) -> ResultFile:
        path, size, content_type = file.path, file.size(), _content_type(file.path)
        plain = Digest(file.read())
        digest = plain
        if file.recipient:
            from functions.results.age import encrypt, encrypted_size

            digest, size = Digest(encrypt(plain, file.recipient)), encrypted_size(size)
            path, content_type = held_path(path), "application/octet-stream"
        key = file.key or f"{self.folder}/{storage_path(path)}"
        url = self.storage.put(key, digest, size, content_type)
        if self.progress:
            self.progress.file_done()
        kind = _type(file.path)
        uploaded = ResultFile(path, digest.size, kind, url, digest.sha256, content_type, sha512=digest.sha512)
        return replace(uploaded, plain_sha256=plain.sha256, plain_size=plain.size) if file.recipient else uploaded

    def _chunks(self, file: OpenFile) -> Iterator[bytes]:
        size, chunks = os.fstat(file.fd).st_size, self._read(file)
        return _cut(chunks, file.cut_at, size) if file.cut_at is not None and size > file.cut_at else chunks

    def _read(self, file: OpenFile) -> Iterator[bytes]:
        """Yield the bytes of the file. Raises TreeChanged if the file changes meanwhile."""
        before, read = os.fstat(file.fd), 0
        try:
            while chunk := _pread(file, read):
                read += len(chunk)
                if read > before.st_size:
                    break  # the file may grow faster than this reads
                self._count(len(chunk))
                yield chunk
            after = os.fstat(file.fd)
            if (read, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or read != before.st_size:
                raise TreeChanged("it changed while it was read")
        except BaseException:
            self._count(-read)
            raise

    def _count(self, size: int) -> None:
        if self.progress:
            self.progress.add_bytes(size)


def _type(path: str) -> str:
    executor = path.startswith(volume_layout.EXECUTOR_LOGS)
    return "executorLog" if executor else _TYPES.get(path, "output")


class Digest:
    """Passes chunks through, and counts and hashes them."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._sha256, self._sha512 = hashlib.sha256(), hashlib.sha512()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._sha256.update(chunk)
            self._sha512.update(chunk)
            self.size += len(chunk)
            yield chunk

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()

    @property
    def sha512(self) -> str:
        return self._sha512.hexdigest()


def upload_failure(path: str, error: Exception) -> StageFailure:
    """Return the failure of the stage. Storage errors may name hosts, so only the log has their text."""
    logging.error("%s: %s", path, error)
    if isinstance(error, StorageFull):
        return StageFailure("DiskFull", f"{path} could not be stored: no space left on the storage of results")
    if isinstance(error, StorageRefused):
        return StageFailure("ResultUploadFailed", f"{path} could not be stored: the storage refuses it")
    if isinstance(error, StorageUnavailable):
        return StageFailure("ResultUploadFailed", f"{path} could not be stored: the storage does not answer")
    return StageFailure("ResultUploadFailed", f"{path}: {error}")


def _pread(file: OpenFile, offset: int) -> bytes:
    try:
        return os.pread(file.fd, CHUNK, offset)
    except OSError as e:
        raise TreeChanged(f"it cannot be read: {os.strerror(e.errno or 0)}") from e


def _cut(chunks: Iterable[bytes], limit: int, size: int) -> Iterator[bytes]:
    left = limit
    for chunk in chunks:
        # Read to the end, so that changes are noticed.
        if left:
            yield chunk[:left]
            left -= min(left, len(chunk))
    yield f"\n[{size - limit} more bytes are not published: the environment allows {limit} of a log]\n".encode()


@cache
def _types() -> mimetypes.MimeTypes:
    import mimetypes

    # Without the tables of the machine, so that a tree has the same manifest everywhere.
    types = mimetypes.MimeTypes()
    for extension, kind in ((".log", "text/plain"), (".parquet", "application/vnd.apache.parquet")):
        types.add_type(kind, extension)
    return types


def _content_type(path: str) -> str:
    if path.endswith(".log"):  # every run has one; other types need an import
        return "text/plain"
    kind, encoding = _types().guess_type(path)
    if encoding:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2"}.get(encoding, "application/octet-stream")
    return kind or "application/octet-stream"
