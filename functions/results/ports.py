"""The port to where results lie. `storage.py` opens the adapter for a storage URL.

Layout below a storage URL: `<workflow>/<attempt>/outputs/…`, `…/logs/…`, `…/adminlogs/…`, and `manifest.json`,
written last: without it nothing counts as published.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from functions.workflow.model import Manifest, ResultFile, WorkflowId


class StorageUnavailable(Exception):
    """The storage cannot answer now; the message is for operators only (it may name hosts)."""


class StorageTimeout(StorageUnavailable):
    """The storage did not answer in time."""


class StorageRefused(StorageUnavailable):
    """The storage will not have it (credentials, permissions, no such bucket): asking again cannot help."""


class StorageFull(StorageRefused):
    """No space left on the storage."""


class NotFound(Exception):
    """The storage has no such file (any more)."""


@dataclass(frozen=True, slots=True)
class Content:
    """A file being read, or a range of it. `chunks` may raise StorageUnavailable; close it in the end."""

    chunks: Iterator[bytes]
    size: int  # of the whole file, bytes
    close: Callable[[], None]


class Storage(Protocol):
    """Where results lie. All methods may raise StorageUnavailable."""

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        """Upload one file below the storage URL; the same key again replaces it. Returns its internal URL.

        `size` is what `chunks` are expected to hold, in bytes; it only chooses the way of uploading. An exception
        that `chunks` raise goes through, and nothing is stored.
        """
        ...

    def put_manifest(self, workflow: WorkflowId, attempt: int, manifest: Manifest) -> None:
        """Write `manifest.json`: the commit mark of publish."""
        ...

    def manifest(self, workflow: WorkflowId, attempt: int) -> Manifest | None:
        """What that attempt published; None if it did not come to the end."""
        ...

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        """Stream a published file, or the range [start, end) of it. Raises NotFound."""
        ...

    def remove(self, workflow: WorkflowId, before: int | None = None) -> None:
        """Delete all that was published of a workflow, or only in the attempts `before` this one; idempotent."""
        ...
