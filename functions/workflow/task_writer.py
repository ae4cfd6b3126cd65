"""The task file of a workflow, from its document and its environment (see stage_task). Pure."""

from __future__ import annotations

from msgspec import Raw
from msgspec.structs import replace

from functions.workflow.environment import Environment
from functions.workflow.model import Hold, Record
from functions.workflow.stage_task import MAX_HELD_LIST, MAX_SIZE, HeldTask, Task, encode
from functions.workflow.tes_task import Document, TesTask


def task_json(
    workflow: str,
    definition: Document,
    environment: Environment,
    *,
    owner: str,
    policy: str,
    results: str,
    held: HeldTask | None,
) -> bytes:
    """Return the content of the task file of configure, publish and release."""
    task = Task(
        workflow=workflow,
        definition=definition,
        results=results,
        fetch=environment.fetch,
        publish=environment.publish,
        policy=Raw(policy.encode() or b"{}"),
        held=held,
    )
    if isinstance(definition, TesTask):
        task = replace(task, deliver=environment.tes, owner=owner)
    return encode(task)


def size_and_limit(record: Record, definition: Document, environment: Environment) -> tuple[int, int]:
    """Return how many bytes a new workflow's task file takes, and how many it may: it must fit into a Secret."""
    workflow, given = record.workflow, record.submission
    content = task_json(
        workflow.id, definition, environment, owner=given.owner, policy=given.policy, results="", held=None
    )
    return len(content), MAX_SIZE if workflow.limits.hold is Hold.NEVER else MAX_SIZE - MAX_HELD_LIST
