"""The light list of workflows, without their documents, and what is unfinished in each environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from functions.ethereum import comparable
from functions.store.driver import Row
from functions.store.rows import time_of
from functions.store.values import Listing, Summary
from functions.workflow.model import Ending, Findings, Phase, Stop, Waiting, WorkflowId

# The expression keeps SQLite from grouping by the index of all workflows by their environment.
UNFINISHED = """
    SELECT namespace || '' AS environment, phase, count(*) AS workflows FROM jobs WHERE datefinished IS NULL
    GROUP BY environment, phase
"""
_COLUMNS = """
    workflowid, namespace, owner, provider, phase, attempt, status, stopreq, ending, waiting, runs_since,
    datecreated, datefinished, held_until, findings, origin, dialect"""
# The terms of a partial index must stand in a statement as they stand in the index.
_UNSUCCESSFUL = "phase = 'finished' AND (status <> 70 OR stopreq <> 0)"
_STATES = {
    "active": "datefinished IS NULL",
    "queued": "datefinished IS NULL AND phase = 'queued'",
    "running": "datefinished IS NULL AND phase NOT IN ('queued', 'held')",
    "started": "datefinished IS NULL AND phase <> 'queued'",  # running, or held
    "held": "datefinished IS NULL AND phase = 'held'",
    "succeeded": "phase = 'finished' AND status = 70 AND coalesce(stopreq, 0) = 0",
    "failed": f"{_UNSUCCESSFUL} AND stopreq <> 1",
    "stopped": f"{_UNSUCCESSFUL} AND stopreq = 1",
}
STATES = tuple(_STATES)
_DIALECTS = {
    "ocean": "dialect = 'ocean' AND origin IS NULL",
    "tes": "dialect <> 'ocean' AND dialect = 'tes'",
    "kubernetes": "origin IS NOT NULL",
}
DIALECTS = tuple(_DIALECTS)
_LAST = "z" * 40  # sorts after the rest of every id, whatever the database's collation
_ENDING = msgspec.json.Decoder(Ending)
_WAITING = msgspec.json.Decoder(Waiting)


def select(wanted: Listing) -> tuple[str, Mapping[str, Any]]:
    """The statement that finds what `wanted` asks for, and its parameters."""
    conditions: list[str] = []
    given: dict[str, Any] = {"_limit": wanted.limit}
    if wanted.state:
        conditions.append(_STATES[wanted.state])
    if wanted.dialect:
        conditions.append(_DIALECTS[wanted.dialect])
    if wanted.environment:
        conditions.append("namespace = %(environment)s")
        given["environment"] = wanted.environment
    if wanted.owner:
        conditions.append("owner_key = %(owner)s")
        given["owner"] = comparable(wanted.owner)
    if wanted.id_prefix:
        conditions.append("workflowid >= %(prefix)s AND workflowid <= %(last)s")
        conditions.append("substr(workflowid, 1, %(length)s) = %(prefix)s")
        given |= {"prefix": wanted.id_prefix, "last": wanted.id_prefix + _LAST, "length": len(wanted.id_prefix)}
    if wanted.before:
        conditions.append("(datecreated, workflowid) < (%(created)s, %(id)s)")
        given |= {"created": wanted.before[0], "id": wanted.before[1]}
    where = f"WHERE {' AND '.join(conditions)}" if conditions else ""
    statement = f"""
        SELECT {_COLUMNS} FROM jobs {where} ORDER BY datecreated DESC, workflowid DESC LIMIT %(_limit)s
    """
    return statement, given


def summary_of(row: Row) -> Summary:
    return Summary(
        id=WorkflowId(row["workflowid"]),
        environment=row["namespace"] or "",
        owner=row["owner"] or "",
        provider=row["provider"] or "",
        origin=row["origin"],
        dialect=row["dialect"],
        phase=Phase(row["phase"]),
        attempt=row["attempt"],
        status=row["status"] or 0,
        stop=Stop(row["stopreq"] or 0),
        ending=_ENDING.decode(row["ending"]) if row["ending"] else None,
        waiting=_WAITING.decode(row["waiting"]) if row["waiting"] else None,
        runs_since=time_of(row["runs_since"]) if row["runs_since"] else None,
        created_at=time_of(row["datecreated"]),
        finished_at=time_of(row["datefinished"]) if row["datefinished"] else None,
        held_until=time_of(row["held_until"]) if row["held_until"] else None,
        findings=Findings(row["findings"]),
    )


def unfinished_of(found: Sequence[Row]) -> Mapping[str, Mapping[Phase, int]]:
    """Workflows by environment and phase."""
    counts: dict[str, dict[Phase, int]] = {}
    for row in found:
        counts.setdefault(row["environment"] or "", {})[Phase(row["phase"])] = row["workflows"]
    return counts
