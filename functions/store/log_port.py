"""The port to the log of all histories: a hash tree that only grows (functions/trust/merkle.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from functions.store.values import LogLeaf
from functions.trust.merkle import Node


class Log(Protocol):
    """Reads and extends the log. A store's own log only reads."""

    def lock(self) -> int | None:
        """Lock the log against all others and return its size; None if somebody else extends it now."""
        ...

    def take_heads(self, limit: int) -> Sequence[LogLeaf]:
        """Return the heads of up to `limit` histories that have grown since they were logged, as logged now.

        Where the last lines of a history name statements, the head that the statements are about comes before it.
        """
        ...

    def unlogged(self, leaves: Sequence[LogLeaf]) -> Sequence[LogLeaf]:
        """Return those leaves that are neither in the log nor wait for it."""
        ...

    def wait(self, leaf: LogLeaf) -> None:
        """Have a leaf logged by the next sweep. Idempotent."""
        ...

    def take_waiting(self, limit: int) -> Sequence[LogLeaf]:
        """Return up to `limit` leaves that wait, as logged now."""
        ...

    def nodes(self, wanted: Sequence[Node]) -> Mapping[Node, bytes]:
        """Return the hashes of complete subtrees of the log, in one read."""
        ...

    def extend(
        self, size: int, leaves: Sequence[LogLeaf], nodes: Mapping[Node, bytes], root: bytes, note: str, at: datetime
    ) -> None:
        """Append `leaves` to the log of `size` leaves, with the `nodes` that they complete and a signed checkpoint."""
        ...

    def position(self, data: str, size: int) -> int | None:
        """Return the position of the first leaf with this data, 64 hex digits.

        None if there is none among the first `size` leaves.
        """
        ...

    def checkpoint(self) -> str | None:
        """Return the newest signed checkpoint, with its cosignatures; None as long as there is none."""
        ...

    def copied(self, place: str) -> int:
        """Return the size of the newest checkpoint that a place, an archive or a witness, has; 0 if it has none."""
        ...

    def uncopied(self, place: str, limit: int) -> Sequence[tuple[int, str]]:
        """Return size and text of up to `limit` checkpoints that are newer than those of a place, the oldest first."""
        ...

    def add_copy(self, place: str, size: int, cosignatures: str) -> None:
        """Record that a place has the checkpoint of this size; `cosignatures`: the lines that it gave. Idempotent."""
        ...
