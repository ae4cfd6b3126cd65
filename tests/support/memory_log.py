"""The log of all histories in memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from functions.store.values import LogLeaf
from functions.trust.merkle import Node
from functions.trust.run_record import ATTESTED


@dataclass(slots=True)
class LogTables:
    leaves: dict[int, LogLeaf] = field(default_factory=dict)
    nodes: dict[Node, bytes] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    logged: dict[str, int] = field(default_factory=dict)
    waiting: dict[str, LogLeaf | None] = field(default_factory=dict)  # None: taken
    copies: dict[tuple[str, int], str] = field(default_factory=dict)


class MemoryLog:
    """See the port."""

    def __init__(self, tables: Any, put: Callable[[dict[Any, Any], Any, Any], None] | None = None) -> None:
        self._records, self._history, self._log = tables.records, tables.history, tables.log
        self._put = put or (lambda table, key, value: table.__setitem__(key, value))

    def lock(self) -> int | None:
        return len(self._log.leaves)

    def take_heads(self, limit: int) -> Sequence[LogLeaf]:
        grown = [r.workflow for r in self._records.values() if r.workflow.step > self._log.logged.get(r.workflow.id, 0)]
        leaves = []
        for w in sorted(grown, key=lambda w: str(w.id))[:limit]:
            self._put(self._log.logged, w.id, w.step)
            stated = next((n for n in range(w.step, 0, -1) if self._history[w.id, n][0].event != ATTESTED), w.step)
            if stated < w.step:
                leaves.append(LogLeaf("history", w.id, self._history[w.id, stated][0].digest))
            leaves.append(LogLeaf("history", w.id, w.head))
        return [leaf for leaf in leaves if leaf.data]

    def unlogged(self, leaves: Sequence[LogLeaf]) -> Sequence[LogLeaf]:
        known = {leaf.data for leaf in (*self._log.leaves.values(), *self._log.waiting.values()) if leaf}
        return [leaf for leaf in leaves if leaf.data not in known]

    def wait(self, leaf: LogLeaf) -> None:
        self._put(self._log.waiting, leaf.data, leaf)

    def take_waiting(self, limit: int) -> Sequence[LogLeaf]:
        taken = [leaf for _, leaf in sorted(self._log.waiting.items()) if leaf][:limit]
        for leaf in taken:
            self._put(self._log.waiting, leaf.data, None)
        return taken

    def nodes(self, wanted: Sequence[Node]) -> Mapping[Node, bytes]:
        return {node: self._log.nodes[node] for node in wanted}

    def extend(
        self, size: int, leaves: Sequence[LogLeaf], nodes: Mapping[Node, bytes], root: bytes, note: str, at: datetime
    ) -> None:
        for n, leaf in enumerate(leaves):
            self._put(self._log.leaves, size + n, leaf)
        for node, hash_ in nodes.items():
            self._put(self._log.nodes, node, hash_)
        self._put(self._log.notes, size + len(leaves), note)

    def position(self, data: str, size: int) -> int | None:
        return min((n for n, leaf in self._log.leaves.items() if leaf.data == data and n < size), default=None)

    def checkpoint(self) -> str | None:
        if not self._log.notes:
            return None
        newest = max(self._log.notes)
        given = [lines for (_, size), lines in sorted(self._log.copies.items()) if size == newest]
        return "".join((self._log.notes[newest], *given))

    def copied(self, place: str) -> int:
        return max((size for name, size in self._log.copies if name == place), default=0)

    def uncopied(self, place: str, limit: int) -> Sequence[tuple[int, str]]:
        return [each for each in sorted(self._log.notes.items()) if each[0] > self.copied(place)][:limit]

    def add_copy(self, place: str, size: int, cosignatures: str) -> None:
        if (place, size) not in self._log.copies:
            self._put(self._log.copies, (place, size), cosignatures)
