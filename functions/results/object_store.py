"""Results in an object store: S3 and compatible services, Google Cloud Storage, Azure. Streams through obstore."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from functions.results import layout
from functions.results.ports import Content, NotFound, StorageRefused, StorageTimeout, StorageUnavailable
from functions.workflow.model import Manifest, ResultFile, WorkflowId

if TYPE_CHECKING:
    from obstore.store import ObjectStore

PART = 8 << 20  # bytes; a file up to this size is uploaded in one request
_MAX_PARTS = 9000  # S3 accepts 10 000
_LARGE_AT_ONCE = 2  # each holds several parts in memory
_READ = 1 << 20
_DELETE_AT_ONCE = 1000


class ObjectStorage:
    """Results in `store`. The URL of every file begins with `url`."""

    def __init__(self, store: ObjectStore, url: str) -> None:
        self._store = store
        self._url = url.rstrip("/")
        self._large = threading.BoundedSemaphore(_LARGE_AT_ONCE)

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        import obstore

        attributes: Any = {"Content-Type": content_type}
        with _errors(missing=StorageRefused):
            if size <= PART:
                obstore.put(self._store, key, b"".join(chunks), attributes=attributes, use_multipart=False)
            else:
                part = max(PART, size // _MAX_PARTS)
                with self._large:
                    obstore.put(
                        self._store, key, iter(chunks), attributes=attributes, chunk_size=part, max_concurrency=2
                    )
        return layout.url_of(self._url, key)

    def put_manifest(self, workflow: WorkflowId, attempt: int, manifest: Manifest) -> None:
        content = layout.encode(manifest)
        key = f"{layout.attempt_folder(workflow, attempt)}/{layout.MANIFEST}"
        self.put(key, [content], len(content), layout.MANIFEST_TYPE)

    def manifest(self, workflow: WorkflowId, attempt: int) -> Manifest | None:
        import obstore

        try:
            with _errors():
                found = obstore.get(self._store, f"{layout.attempt_folder(workflow, attempt)}/{layout.MANIFEST}")
                return layout.decode(bytes(found.bytes()))
        except NotFound:
            return None

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        import obstore

        key = layout.key_of(self._url, file.url)
        ranged: Any = {"range": (start, end)} if end is not None else {"range": {"offset": start}} if start else {}
        with _errors():
            found = obstore.get(self._store, key, options=ranged)
        chunks = _read(found)
        return Content(chunks, found.meta["size"], chunks.close)

    def remove(self, workflow: WorkflowId, before: int | None = None) -> None:
        import obstore

        folder = layout.folder(workflow)
        with _errors():
            attempts = obstore.list_with_delimiter(self._store, folder)["common_prefixes"]
            for attempt in attempts:
                number = attempt.rsplit("/", 1)[-1]
                if before is None or (number.isdecimal() and int(number) < before):
                    self._remove_folder(attempt)

    def _remove_folder(self, folder: str) -> None:
        import obstore

        # Delete the manifest first: an interrupted removal must not leave one that lists deleted files.
        obstore.delete(self._store, [f"{folder}/{layout.MANIFEST}"])
        for batch in obstore.list(self._store, folder, chunk_size=_DELETE_AT_ONCE):
            obstore.delete(self._store, [found["path"] for found in batch])


def _read(found: Any) -> Generator[bytes]:
    with _errors():
        for chunk in found.stream(min_chunk_size=_READ):
            yield bytes(chunk)


@contextmanager
def _errors(missing: type[Exception] = NotFound) -> Iterator[None]:
    from obstore import exceptions

    try:
        yield
    except FileNotFoundError as e:  # obstore raises this for a 404
        raise missing("the storage has no such bucket or file") from e
    except (exceptions.PermissionDeniedError, exceptions.UnauthenticatedError) as e:
        raise StorageRefused(_brief(e)) from e
    except (exceptions.BaseError, OSError) as e:
        kind = StorageTimeout if "timed out" in str(e) else StorageUnavailable
        raise kind(_brief(e)) from e


def _brief(error: Exception) -> str:
    # obstore's second paragraph is a debug dump.
    return str(error).partition("\n\n")[0][:500]
