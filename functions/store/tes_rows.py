"""The tasks of GA4GH TES: their own tables beside `jobs`, in SQL that SQLite and Postgres understand."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from hashlib import blake2s
from typing import Any

import msgspec
from msgspec.structs import replace

from functions.store import history_rows, json_columns, rows
from functions.store.driver import Row
from functions.store.pool import Session, any_of
from functions.store.values import Attempt, StoredTask, TaskEntry, TaskQuery
from functions.workflow.model import DeliveredFile, Manifest, Record, Stage, Streams, WorkflowId

Run = Callable[[str, Mapping[str, Any]], Sequence[Row]]
# Prepares the types at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
_DELIVERED = msgspec.json.Decoder(tuple[DeliveredFile, ...])
_STREAMS = msgspec.json.Decoder(tuple[Streams, ...])
_LAST = "\U0010ffff"  # after every other character
_NAME_START = 255  # characters of a name that its index holds
_STAGES = list(Stage)

# Both tables have some of these names.
_RECORD = ", ".join(f"jobs.{column.strip()}" for column in rows.RECORD.split(","))
_ENTRY = """
    t.workflow, t.owner, t.state, t.created_at,
    t.size + coalesce(octet_length(t.outputs), 0) + coalesce(octet_length(t.logs), 0) AS bytes
"""
ENTRY = f"SELECT {_ENTRY} FROM tes_tasks t WHERE t.workflow = %(workflow)s"
SAVE_STATE = "UPDATE tes_tasks SET state = %(state)s WHERE workflow = %(workflow)s"
SAVE_RESULT = """
    UPDATE tes_tasks SET state = %(state)s, outputs = %(outputs)s, logs = %(logs)s WHERE workflow = %(workflow)s
"""
INSERT = """
    INSERT INTO tes_tasks (workflow, owner, name, name_start, state, created_at, size, warnings)
    VALUES (%(workflow)s, %(owner)s, %(name)s, %(name_start)s, %(state)s, %(created_at)s, %(size)s, %(warnings)s)
"""


# --- changes, inside a transaction ----------------------------------------------------------


def insert(session: Session, record: Record, state: str) -> None:
    """Insert the rows of a new task, after that of `jobs`."""
    workflow, task = record.workflow, record.submission.document
    name = str(task.get("name", ""))
    owned = {"owner": record.submission.owner, "created_at": workflow.created_at}
    values = {
        "name": name,
        "name_start": name[:_NAME_START],
        "state": state,
        "size": len(msgspec.json.encode(task)),
        "warnings": json_columns.encode(record.submission.warnings or None),
    }
    session.write(INSERT, {"workflow": workflow.id, **owned, **values})
    if tags := task.get("tags"):
        parameters: dict[str, Any] = {"workflow": workflow.id, **owned}
        for n, (key, value) in enumerate(tags.items()):
            parameters |= {f"key_{n}": digest(key), f"value_{n}": digest(value)}
        session.write(_insertion_of_tags(len(tags)), parameters)


def save(session: Session, workflow: WorkflowId, state: str, manifest: Manifest | None = None) -> None:
    """Store the state, and what was delivered and printed if a manifest is given."""
    values = {"workflow": workflow, "state": state}
    if manifest is None:
        session.write(SAVE_STATE, values)
        return
    outputs, logs = json_columns.encode(manifest.delivered), json_columns.encode(manifest.streams)
    session.write(SAVE_RESULT, {**values, "outputs": outputs, "logs": logs})


def _insertion_of_tags(count: int) -> str:
    new = (f"(%(workflow)s, %(key_{n})s, %(value_{n})s, %(owner)s, %(created_at)s)" for n in range(count))
    return f"INSERT INTO tes_tags (workflow, key, value, owner, created_at) VALUES {', '.join(new)}"


def digest(text: str) -> str:
    """Return what the index of tags holds of a key or a value."""
    return blake2s(text.encode("utf-8", "replace"), digest_size=16).hexdigest()


# --- reads ----------------------------------------------------------------------------------


def entry(run: Run, workflow: WorkflowId) -> TaskEntry | None:
    """See the port."""
    return next((_entry(row) for row in run(ENTRY, {"workflow": workflow})), None)


def find(run: Run, query: TaskQuery) -> Sequence[TaskEntry]:
    """See the port."""
    return [_entry(row) for row in run(*_select(query))]


def get(run: Run, workflows: Sequence[WorkflowId]) -> Sequence[StoredTask]:
    """See the port."""
    if not workflows:
        return []
    names, ids = any_of(workflows)
    columns = f"{_RECORD}, t.state, t.outputs, t.logs, t.warnings AS task_warnings"
    source = "tes_tasks t JOIN jobs ON jobs.workflowid = t.workflow"
    statement = f"SELECT {columns} FROM {source} WHERE t.workflow IN ({names})"
    found = {row["workflowid"]: row for row in run(statement, ids)}
    attempts = _attempts(run(f"SELECT * FROM stage_attempts WHERE workflow IN ({names})", ids))
    return [_task(found[id], attempts[id]) for id in workflows if id in found]


def _entry(row: Row) -> TaskEntry:
    created = rows.time_of(row["created_at"])
    return TaskEntry(WorkflowId(row["workflow"]), row["owner"], row["state"], created, row["bytes"])


def _task(row: Row, attempts: Sequence[Attempt]) -> StoredTask:
    record = rows.record_of(row)
    delivered = _DELIVERED.decode(row["outputs"]) if row["outputs"] else ()
    streams = _STREAMS.decode(row["logs"]) if row["logs"] else ()
    manifest = replace(record.manifest, delivered=delivered, streams=streams)
    submission = replace(record.submission, warnings=json_columns.decode_texts(row["task_warnings"]))
    return StoredTask(row["state"], Record(record.workflow, submission, manifest), attempts)


def _attempts(found: Iterable[Row]) -> Mapping[str, Sequence[Attempt]]:
    """Group attempts by their workflows, in the order of the stages."""
    grouped: dict[str, list[Attempt]] = defaultdict(list)
    for row in found:
        grouped[row["workflow"]].append(history_rows.attempt_of(row))
    for attempts in grouped.values():
        attempts.sort(key=lambda each: (_STAGES.index(each.stage), each.executor, each.attempt))
    return grouped


def _select(query: TaskQuery) -> tuple[str, Mapping[str, Any]]:
    """Return the statement that finds what `query` asks for, and its parameters.

    For one owner, the index of the first tag leads: it has their tasks in the order of the list.
    """
    others = list(query.tags.items())
    first = others.pop(0) if others and query.owner is not None else None
    source = "tes_tags g JOIN tes_tasks t ON t.workflow = g.workflow" if first else "tes_tasks t"
    ordered = "g" if first else "t"
    conditions: list[str] = []
    given: dict[str, Any] = {"limit": query.limit}
    if first:
        conditions += _tag("g", first, 0, given)
    for n, pair in enumerate(others, 1):
        matches = " AND ".join(_tag("o", pair, n, given))
        conditions.append(f"EXISTS (SELECT 1 FROM tes_tags o WHERE o.workflow = t.workflow AND {matches})")
    if query.owner is not None:
        conditions.append(f"{ordered}.owner = %(owner)s")
        given["owner"] = query.owner
    if query.state is not None:
        conditions.append("t.state = %(state)s")
        given["state"] = query.state
    if query.name_prefix:
        conditions += ["t.name_start >= %(start)s AND t.name_start < %(end)s"]
        conditions += ["substr(t.name, 1, %(length)s) = %(prefix)s"]
        start = query.name_prefix[:_NAME_START]
        given |= {"start": start, "end": start + _LAST, "length": len(query.name_prefix), "prefix": query.name_prefix}
    if query.after is not None:
        conditions.append(f"({ordered}.created_at, {ordered}.workflow) < (%(created_at)s, %(id)s)")
        given |= {"created_at": query.after[0], "id": query.after[1]}
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    order = f"ORDER BY {ordered}.created_at DESC, {ordered}.workflow DESC"
    return f"SELECT {_ENTRY} FROM {source} {where} {order} LIMIT %(limit)s", given


def _tag(table: str, pair: tuple[str, str], number: int, given: dict[str, Any]) -> list[str]:
    """Return the conditions for one tag, and add their parameters to `given`."""
    key, value = pair
    given[f"key_{number}"] = digest(key)
    conditions = [f"{table}.key = %(key_{number})s"]
    if value:
        given[f"value_{number}"] = digest(value)
        conditions.append(f"{table}.value = %(value_{number})s")
    return conditions
