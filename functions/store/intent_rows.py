"""Conversion between the rows of `intents` and the values of the model: effects, and events that go out."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from functions.store.driver import Row
from functions.store.rows import time_of
from functions.store.values import Intent, Outgoing
from functions.workflow.decision import (
    CleanUp,
    CreateJob,
    DeleteJob,
    Effect,
    Emit,
    RemoveQuarantine,
    RemoveReleased,
    RemoveResults,
    Report,
)
from functions.workflow.model import Stage, WorkflowId
from functions.workflow.timing import CHECK_AFTER

_KINDS: Mapping[type[Effect], str] = {
    CreateJob: "create_job",
    DeleteJob: "delete_job",
    CleanUp: "clean_up",
    RemoveResults: "remove_results",
    RemoveQuarantine: "drop_quarantine",
    RemoveReleased: "drop_released",
    Report: "report",
    Emit: "emit",
}


def intent_values(workflow: WorkflowId, effect: Effect, at: datetime) -> dict[str, Any]:
    """All columns of a new row of `intents`, except its id."""
    job = effect if isinstance(effect, CreateJob | DeleteJob) else None
    due_at, wake_at = effect_times(effect, at)
    return {
        "workflow": workflow,
        "kind": _KINDS[type(effect)],
        "stage": job.stage.value if job else None,
        "attempt": job.attempt if job else None,
        "executor": job.executor if job else None,
        "event": effect.kind if isinstance(effect, Emit) else None,
        "due_at": due_at,
        "wake_at": wake_at,
        "tries": 0,
    }


def scope_event_values(kind: str, scope: str, at: datetime) -> dict[str, Any]:
    """All columns of a new row of `intents` that is an event about a scope, except its id."""
    times = {"due_at": at, "wake_at": at}
    return {"workflow": None, "kind": _KINDS[Emit], "event": kind, "scope": scope, **times, "tries": 0}


def effect_times(effect: Effect, at: datetime) -> tuple[datetime, datetime]:
    """When an effect that was decided at `at` is due, and when the sweep may take it.

    The sweep leaves a fresh effect to the handler that decided it for CHECK_AFTER. Events are delivered by the sweep
    alone, so they do not wait.
    """
    due = at + timedelta(seconds=effect.after if isinstance(effect, CreateJob | Emit) else 0)
    return due, due if isinstance(effect, Emit) else max(due, at + CHECK_AFTER)


def intent_of(row: Row) -> Intent:
    due_at = time_of(row["due_at"])
    return Intent(row["id"], WorkflowId(row["workflow"]), effect_of(row), row["tries"], due_at, bool(row["frozen"]))


def outgoing_of(row: Row) -> Outgoing:
    workflow, scope = WorkflowId(row["workflow"] or ""), row["scope"] or ""
    return Outgoing(row["id"], workflow, row["event"], row["tries"], time_of(row["due_at"]), scope)


def effect_of(row: Row) -> Effect:
    match row["kind"]:
        case "create_job":
            return CreateJob(Stage(row["stage"]), row["attempt"], row["executor"])
        case "delete_job":
            return DeleteJob(Stage(row["stage"]), row["attempt"], row["executor"])
        case "clean_up":
            return CleanUp()
        case "remove_results":
            return RemoveResults()
        case "drop_quarantine":
            return RemoveQuarantine()
        case "drop_released":
            return RemoveReleased()
        case "report":
            return Report()
        case "emit":
            return Emit(row["event"])
        case other:
            raise ValueError(f"unknown kind of intent {other!r}; the database was written by a newer program")
