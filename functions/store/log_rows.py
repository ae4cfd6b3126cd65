"""The log of all histories in SQL: leaves, the complete subtrees above them, signed checkpoints.

Only what is new is written, and a proof reads a number of rows that grows with the logarithm of the log.

Leaves are hashes, so in an index over their data alone each new leaf changes a random page, and most pages of a long
log are not in memory. The index therefore has parts. A part covers 65,536 consecutive leaves by their first 16 digits.
New leaves change only the newest part, which is small and stays in memory. A search looks into every part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from functions.store.driver import Row
from functions.store.pool import any_of
from functions.store.values import LogLeaf
from functions.trust.merkle import Node, leaf_hash

Run = Callable[[str, Mapping[str, Any]], Sequence[Row]]

LOCK = "SELECT size FROM log_size FOR UPDATE SKIP LOCKED"
GROW = "UPDATE log_size SET size = %(size)s"
# Claims workflows whose history has grown. What others hold is taken by the next sweep.
TAKE = """
    WITH grown AS (
        SELECT workflowid FROM jobs WHERE step > logged_step
        ORDER BY workflowid LIMIT %(limit)s FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs SET logged_step = step WHERE workflowid IN (SELECT workflowid FROM grown)
    RETURNING workflowid, step, head
"""
# Lines that name statements follow the head that the statements are about.
STATED = """
    SELECT line.workflow, line.step, line.digest FROM history line
    JOIN (
        SELECT workflow, max(step) AS step FROM history
        WHERE event <> 'attested' AND workflow IN ({workflows}) GROUP BY workflow
    ) stated ON stated.workflow = line.workflow AND stated.step = line.step
"""
# The condition on `kind` selects the small index over leaves that are no heads of histories.
KNOWN = """
    SELECT data FROM log_leaves WHERE kind <> 'history' AND data IN ({data})
    UNION ALL SELECT data FROM log_waiting WHERE data IN ({data})
"""
WAIT = """
    INSERT INTO log_waiting (data, kind, subject) VALUES (%(data)s, %(kind)s, %(subject)s) ON CONFLICT (data) DO NOTHING
"""
TAKE_WAITING = """
    DELETE FROM log_waiting WHERE data IN (SELECT data FROM log_waiting ORDER BY data LIMIT %(limit)s)
    RETURNING kind, subject, data
"""
LEAVES = "SELECT 0 AS level, position, data AS hash FROM log_leaves WHERE position IN ({positions})"
# SQLite would read the whole table for `(level, position) IN (VALUES …)`.
NODES = "SELECT level, position, hash FROM log_nodes WHERE {nodes}"
PART_BITS = 16
# The expressions are those of the index. With min(position) Postgres may read the whole log. With `data = …` SQLite
# replaces `data` in the second expression by that value, and the index no longer matches.
POSITIONS = f"""
    SELECT position, data FROM log_leaves
    WHERE (position >> {PART_BITS}) IN ({{parts}}) AND substr(data, 1, 16) = %(start)s
"""
NEWEST = "SELECT size, note FROM log_checkpoints ORDER BY size DESC LIMIT 1"
COSIGNATURES = "SELECT cosignatures FROM log_copies WHERE size = %(size)s ORDER BY place"
COPIED = "SELECT max(size) AS size FROM log_copies WHERE place = %(place)s"
UNCOPIED = "SELECT size, note FROM log_checkpoints WHERE size > %(copied)s ORDER BY size LIMIT %(limit)s"
COPY = """
    INSERT INTO log_copies (place, size, cosignatures) VALUES (%(place)s, %(size)s, %(cosignatures)s)
    ON CONFLICT (place, size) DO NOTHING
"""
CHECKPOINT = """
    INSERT INTO log_checkpoints (size, at, root, note) VALUES (%(size)s, %(at)s, %(root)s, %(note)s)
"""


class SqlLog:
    """See the port. Statements run in the transaction, or on the pool, that `run` belongs to."""

    def __init__(self, run: Run) -> None:
        self._run = run

    def lock(self) -> int | None:
        return next((row["size"] for row in self._run(LOCK, {})), None)

    def take_heads(self, limit: int) -> Sequence[LogLeaf]:
        grown = self._run(TAKE, {"limit": limit})
        if not grown:
            return ()
        names, ids = any_of([row["workflowid"] for row in grown])
        stated = {row["workflow"]: row for row in self._run(STATED.format(workflows=names), ids)}
        leaves = []
        for row in sorted(grown, key=lambda row: str(row["workflowid"])):
            line = stated.get(row["workflowid"])
            heads = [line["digest"], row["head"]] if line and line["step"] < row["step"] else [row["head"]]
            leaves += [LogLeaf("history", row["workflowid"], head) for head in heads if head]
        return leaves

    def unlogged(self, leaves: Sequence[LogLeaf]) -> Sequence[LogLeaf]:
        if not leaves:
            return ()
        names, ids = any_of([leaf.data for leaf in leaves])
        known = {row["data"] for row in self._run(KNOWN.format(data=names), ids)}
        return [leaf for leaf in leaves if leaf.data not in known]

    def wait(self, leaf: LogLeaf) -> None:
        self._run(WAIT, {"data": leaf.data, "kind": leaf.kind, "subject": leaf.subject})

    def take_waiting(self, limit: int) -> Sequence[LogLeaf]:
        rows = self._run(TAKE_WAITING, {"limit": limit})
        return sorted((LogLeaf(row["kind"], row["subject"], row["data"]) for row in rows), key=lambda leaf: leaf.data)

    def nodes(self, wanted: Sequence[Node]) -> Mapping[Node, bytes]:
        leaves = ", ".join(str(position) for level, position in wanted if not level)
        inner = " OR ".join(f"(level = {level} AND position = {position})" for level, position in wanted if level)
        statements = [LEAVES.format(positions=leaves)] if leaves else []
        statements += [NODES.format(nodes=inner)] if inner else []
        rows = self._run(" UNION ALL ".join(statements), {}) if statements else ()
        hashes = {(row["level"], row["position"]): bytes.fromhex(row["hash"]) for row in rows}
        return {node: hash_ if node[0] else leaf_hash(hash_) for node, hash_ in hashes.items()}

    def extend(
        self, size: int, leaves: Sequence[LogLeaf], nodes: Mapping[Node, bytes], root: bytes, note: str, at: datetime
    ) -> None:
        new = [(size + n, leaf.kind, leaf.subject, leaf.data) for n, leaf in enumerate(leaves)]
        self._insert("log_leaves", ("position", "kind", "subject", "data"), new)
        inner = [(level, position, hash_.hex()) for (level, position), hash_ in nodes.items() if level]
        self._insert("log_nodes", ("level", "position", "hash"), inner)
        grown = size + len(leaves)
        self._run(CHECKPOINT, {"size": grown, "at": at, "root": root.hex(), "note": note})
        self._run(GROW, {"size": grown})

    def position(self, data: str, size: int) -> int | None:
        parts = ", ".join(str(part) for part in range((size >> PART_BITS) + 1))
        found = self._run(POSITIONS.format(parts=parts), {"start": data[:16]})
        return min((row["position"] for row in found if row["data"] == data and row["position"] < size), default=None)

    def checkpoint(self) -> str | None:
        for row in self._run(NEWEST, {}):
            given = self._run(COSIGNATURES, {"size": row["size"]})
            return "".join((row["note"], *(each["cosignatures"] for each in given)))
        return None

    def copied(self, place: str) -> int:
        (row,) = self._run(COPIED, {"place": place})
        return row["size"] or 0

    def uncopied(self, place: str, limit: int) -> Sequence[tuple[int, str]]:
        rows = self._run(UNCOPIED, {"copied": self.copied(place), "limit": limit})
        return [(row["size"], row["note"]) for row in rows]

    def add_copy(self, place: str, size: int, cosignatures: str) -> None:
        self._run(COPY, {"place": place, "size": size, "cosignatures": cosignatures})

    def _insert(self, table: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Insert all rows in one statement. Names of tables and columns are constants of ours."""
        if not rows:
            return
        places = (", ".join(f"%({column}_{n})s" for column in columns) for n in range(len(rows)))
        statement = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({'), ('.join(places)})"
        values = {f"{c}_{n}": value for n, row in enumerate(rows) for c, value in zip(columns, row, strict=True)}
        self._run(statement, values)
