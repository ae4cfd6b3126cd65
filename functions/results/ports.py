"""The port to the storage of results. `storage.py` opens the adapter for a storage URL.

Layout below a storage URL: `<workflow>/<attempt>/outputs/…`, `…/logs/…`, `…/adminlogs/…` and `manifest.json`. The
manifest is written last. An attempt without one counts as not published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from msgspec import Struct

from functions.errors import Unavailable
from functions.workflow.model import Manifest, ResultFile, WorkflowId


class StorageUnavailable(Unavailable):
    """The storage cannot answer now."""


class StorageTimeout(StorageUnavailable):
    """The storage did not answer in time."""


class StorageRefused(StorageUnavailable):
    """The storage refuses the request (credentials, permissions, no such bucket). A retry cannot help."""


class StorageFull(StorageRefused):
    """The storage has no space left."""


class NotFound(Exception):
    """The storage does not have the file, or no longer."""


class Content(Struct, frozen=True):
    """An open file, or a range of it. `chunks` may raise StorageUnavailable. The caller must call `close`."""

    chunks: Iterator[bytes]
    size: int  # of the whole file, bytes
    close: Callable[[], None]


class Storage(Protocol):
    """A storage of results. Every method may raise StorageUnavailable."""

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        """Upload one file below the storage URL, or replace it. Return its internal URL.

        `size` is the expected size of `chunks` in bytes, and only selects the kind of upload. An exception of
        `chunks` passes through, and nothing is stored.
        """
        ...

    def put_manifest(self, workflow: WorkflowId, attempt: int, manifest: Manifest) -> None:
        """Write `manifest.json`. This commits the attempt."""
        ...

    def manifest(self, workflow: WorkflowId, attempt: int) -> Manifest | None:
        """Return what the attempt published. None if the attempt has no manifest."""
        ...

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        """Stream a published file, or the range [start, end) of it. Raises NotFound."""
        ...

    def remove(self, workflow: WorkflowId, before: int | None = None) -> None:
        """Delete all results of a workflow, or only those of attempts `before` the given one. Idempotent."""
        ...
