"""Conversion between rows and values, as in `rows`: history lines and the attempts of stages."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import msgspec

from functions.store import json_columns
from functions.store.driver import Row
from functions.store.rows import time_of
from functions.store.values import Attempt
from functions.trust.chain import MAX_CAUSE
from functions.workflow.decision import AttemptEnd, CreateJob, HistoryEntry
from functions.workflow.model import JobUid, Outcome, Phase, Stage, WorkflowId

# Prepares the type at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
_FACTS = msgspec.json.Decoder(dict[str, str])


def history_values(workflow: WorkflowId, entry: HistoryEntry, cause: str) -> dict[str, Any]:
    return {
        "workflow": workflow,
        "step": entry.step,
        "at": entry.at,
        "before": entry.before.value,
        "after": entry.after.value,
        "status": int(entry.status),
        "event": entry.event,
        "reason": entry.reason,
        "attempt": entry.attempt,
        "cause": cause[:MAX_CAUSE],
        "facts": json_columns.encode(entry.facts or None),
        "digest": entry.digest,
    }


def history_of(row: Row) -> tuple[HistoryEntry, str]:
    entry = HistoryEntry(
        step=row["step"],
        at=time_of(row["at"]),
        before=Phase(row["before"]),
        after=Phase(row["after"]),
        status=row["status"],
        event=row["event"],
        reason=row["reason"],
        attempt=row["attempt"],
        facts=_FACTS.decode(row["facts"]) if row["facts"] else {},
        digest=row["digest"],
    )
    return entry, row["cause"]


def attempt_values(
    workflow: WorkflowId, job: CreateJob | AttemptEnd, at: datetime, end: AttemptEnd | None = None
) -> dict[str, Any]:
    """The columns of an attempt that begins at `at` (`job`), or of one that has ended (`end`)."""
    return {
        "workflow": workflow,
        "stage": job.stage.value,
        "attempt": job.attempt,
        "executor": job.executor,
        "created_at": at,
        "started_at": end.started_at if end else None,
        "ended_at": end.at if end else None,
        "outcome": end.outcome.value if end else None,
        "exit_code": end.exit_code if end else None,
        "reason": end.reason if end else None,
    }


def attempt_of(row: Row) -> Attempt:
    stage, number, executor = Stage(row["stage"]), row["attempt"], row["executor"]
    end = None
    if row["outcome"] is not None:
        ended, outcome = time_of(row["ended_at"]), Outcome(row["outcome"])
        began = time_of(row["started_at"]) if row["started_at"] else None
        end = AttemptEnd(stage, number, outcome, row["exit_code"], row["reason"] or "", ended, executor, began)
    uid = JobUid(row["job_uid"]) if row["job_uid"] else None
    return Attempt(stage, number, time_of(row["created_at"]), uid, end, executor)
