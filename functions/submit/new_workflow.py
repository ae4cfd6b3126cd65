"""Makes the record of a new workflow: checks the document, grants the limits, assigns the id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.workflow.document import Definition, DocumentError, parse
from functions.workflow.environment import Environment, grant
from functions.workflow.model import Record, Submission, Workflow, WorkflowId

if TYPE_CHECKING:
    from functions.engine.app import App

_NEEDED = ("algorithm", "compute", "input", "output")  # in operator-service's order


class Invalid(ValueError):
    """The document is refused; the message says where and why."""


def prepare(app: App, submission: Submission, environment: Environment, *, id: str | None = None) -> Record:
    """Return the record of a new workflow, with a new id unless `id` is given. Raises Invalid."""
    definition = _definition(submission.document, environment)
    workflow = Workflow(
        id=WorkflowId(id or app.new_id()),
        environment=environment.id,
        limits=grant(environment, definition),
        created_at=app.clock(),
        reported=submission.origin is not None,
    )
    return Record(workflow, submission)


def _definition(document: Any, environment: Environment) -> Definition:
    """Run operator-service's checks, with its messages, then ours."""
    stages = document.get("stages")
    if not stages:
        raise Invalid("Missing stages")
    if not isinstance(stages, list) or len(stages) > 1:
        raise Invalid("Multiple stages are not supported yet")
    for name in _NEEDED:
        if not isinstance(stages[0], dict) or name not in stages[0]:
            raise Invalid(f"Missing {name} in stage 0")
    try:
        return parse(document, schemes=frozenset(environment.fetch.schemes))
    except DocumentError as e:
        raise Invalid(str(e)) from None
