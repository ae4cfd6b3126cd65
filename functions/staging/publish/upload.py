"""Uploads one open file: hashed while it is read, encrypted where asked, retried, checked for changes."""

from __future__ import annotations

import hashlib
import logging
import mimetypes
import os
import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from functions.results.ports import Storage, StorageFull, StorageRefused, StorageUnavailable
from functions.staging.publish.names import storage_path
from functions.staging.publish.tally import Tally
from functions.staging.publish.tree import TreeChanged
from functions.staging.report import Failure
from functions.workflow.model import ResultFile

CHUNK = 1 << 20
_DELAYS = (0.5, 1.0, 2.0, 4.0)  # seconds between the tries

# Ocean's types by path; `configrationLog` is how its clients spell it.
_TYPES = {
    "logs/algorithm.log": "algorithmLog",
    "adminlogs/algorithm.log": "algorithmLog",
    "adminlogs/configure.log": "configrationLog",
    "adminlogs/filter.log": "filteringLog",
    "adminlogs/publish.log": "publishLog",
}


@dataclass(frozen=True, slots=True)
class Source:
    """An open file that is to be published as `path`; uploading closes `fd`."""

    path: str
    fd: int
    cut_at: int | None = None  # logs: publish at most so many bytes, and say so at the end
    recipient: str | None = None  # an age recipient to encrypt to


@dataclass(frozen=True)
class Uploader:
    storage: Storage
    folder: str  # `<workflow>/<attempt>`
    progress: Tally | None = None
    sleep: Callable[[float], None] = time.sleep

    def upload(self, source: Source) -> ResultFile:
        """Raises Failure."""
        try:
            for delay in _DELAYS:
                try:
                    return self._try(source)
                except StorageRefused:
                    raise
                except (StorageUnavailable, TreeChanged) as e:
                    logging.warning("%s is tried again: %s", source.path, e)
                    self.sleep(delay * random.uniform(0.5, 1.5))  # noqa: S311
            return self._try(source)
        except (StorageUnavailable, TreeChanged) as e:
            raise failure(source.path, e) from e
        finally:
            os.close(source.fd)

    def _try(self, source: Source) -> ResultFile:
        path, size, chunks = source.path, os.fstat(source.fd).st_size, self._read(source)
        content_type = _content_type(path)
        if source.cut_at is not None and size > source.cut_at:
            chunks = _cut(chunks, source.cut_at, size)
        if source.recipient:
            from functions.staging.publish.encrypt import encrypt, encrypted_size

            chunks, size = encrypt(chunks, source.recipient), encrypted_size(size)
            path, content_type = f"{path}.age", "application/octet-stream"
        digest = Digest(chunks)
        url = self.storage.put(f"{self.folder}/{storage_path(path)}", digest, size, content_type)
        kind = _TYPES.get(source.path, "output")
        if self.progress:
            self.progress.file_done()
        return ResultFile(path, digest.size, kind, url, digest.sha256, content_type)

    def _read(self, source: Source) -> Iterator[bytes]:
        """The bytes of the file as it was when this began. Raises TreeChanged if it does not stay so."""
        before, read = os.fstat(source.fd), 0
        try:
            while chunk := _pread(source, read):
                read += len(chunk)
                if read > before.st_size:
                    break  # somebody may be writing faster than this reads
                self._seen(len(chunk))
                yield chunk
            after = os.fstat(source.fd)
            if (read, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns) or read != before.st_size:
                raise TreeChanged("it changed while it was read")
        except BaseException:
            self._seen(-read)
            raise

    def _seen(self, size: int) -> None:
        if self.progress:
            self.progress.add(size)


class Digest:
    """Passes chunks through and knows their size and sha256 at the end."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = chunks
        self._sha256 = hashlib.sha256()
        self.size = 0

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._chunks:
            self._sha256.update(chunk)
            self.size += len(chunk)
            yield chunk

    @property
    def sha256(self) -> str:
        return self._sha256.hexdigest()


def failure(path: str, error: Exception) -> Failure:
    """How the stage ends if `path` cannot be uploaded. Storage errors name hosts: those stay in the log."""
    logging.error("%s: %s", path, error)
    if isinstance(error, StorageFull):
        return Failure("DiskFull", f"{path} could not be stored: no space left on the storage of results")
    if isinstance(error, StorageRefused):
        return Failure("ResultUploadFailed", f"{path} could not be stored: the storage refuses it")
    if isinstance(error, StorageUnavailable):
        return Failure("ResultUploadFailed", f"{path} could not be stored: the storage does not answer")
    return Failure("ResultUploadFailed", f"{path}: {error}")


def _pread(source: Source, offset: int) -> bytes:
    try:
        return os.pread(source.fd, CHUNK, offset)
    except OSError as e:
        raise TreeChanged(f"it cannot be read: {os.strerror(e.errno or 0)}") from e


def _cut(chunks: Iterable[bytes], limit: int, size: int) -> Iterator[bytes]:
    left = limit
    for chunk in chunks:
        # To the end, so that changes are noticed.
        if left:
            yield chunk[:left]
            left -= min(left, len(chunk))
    yield f"\n[{size - limit} more bytes are not published: the environment allows {limit} of a log]\n".encode()


@cache
def _types() -> mimetypes.MimeTypes:
    # Without the machine's own tables: the same tree gives the same manifest everywhere.
    types = mimetypes.MimeTypes()
    for extension, kind in ((".log", "text/plain"), (".parquet", "application/vnd.apache.parquet")):
        types.add_type(kind, extension)
    return types


def _content_type(path: str) -> str:
    kind, encoding = _types().guess_type(path)
    if encoding:
        return {"gzip": "application/gzip", "bzip2": "application/x-bzip2"}.get(encoding, "application/octet-stream")
    return kind or "application/octet-stream"
