"""Each effect is written as a row and read as the same effect; a row of a newer program is named."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from functions.store.intent_rows import effect_of, intent_of, intent_values, outgoing_of, scope_event_values
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

AT = datetime(2026, 11, 27, 12, 0, 0, tzinfo=UTC)
W = WorkflowId("w1")


@pytest.mark.parametrize(
    "effect",
    [
        CreateJob(Stage.ALGORITHM, 2, 1),
        DeleteJob(Stage.PUBLISH, 3, 0),
        CleanUp(),
        RemoveResults(),
        RemoveQuarantine(),
        RemoveReleased(),
        Report(),
        Emit("finished"),
    ],
    ids=lambda effect: type(effect).__name__,
)
def test_an_effect_is_read_as_it_was_written(effect: Effect) -> None:
    row: dict[str, Any] = {**intent_values(W, effect, AT), "id": 7, "frozen": 0}
    intent = intent_of(row)
    assert (intent.id, intent.workflow, intent.effect, intent.tries, intent.frozen) == (7, W, effect, 0, False)
    assert intent.due_at >= AT


def test_an_event_about_a_scope_has_no_workflow() -> None:
    row: dict[str, Any] = {**scope_event_values("frozen", "environment:lab", AT), "id": 8}
    event = outgoing_of(row)
    assert (event.id, event.workflow, event.kind, event.scope, event.due_at) == (8, "", "frozen", "environment:lab", AT)


def test_a_kind_that_only_a_newer_program_knows_is_named() -> None:
    row: dict[str, Any] = {**intent_values(W, CleanUp(), AT), "kind": "teleport"}
    with pytest.raises(ValueError, match="unknown kind of intent 'teleport'; the database was written by a newer"):
        effect_of(row)
