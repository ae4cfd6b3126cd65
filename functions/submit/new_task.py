"""Makes the record of a new GA4GH TES task: compares it with the environment, grants the limits, assigns the id."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from functions.workflow.document import DocumentError
from functions.workflow.environment import Environment, grant_task
from functions.workflow.model import Record, Submission, Workflow, WorkflowId
from functions.workflow.stage_task import MAX_SIZE
from functions.workflow.tes_checks import AcceptedTask

if TYPE_CHECKING:
    from functions.engine.app import App

PROVIDER = "tes"  # no signer has this address, so no Ocean route of a Provider reaches a task


def prepare(
    app: App, accepted: AcceptedTask, owner: str, environment: Environment, *, idempotency_key: str | None = None
) -> Record:
    """Return the record of a new task. Raises DocumentError for what the environment does not allow."""
    id = WorkflowId(app.new_id())
    workflow = Workflow(
        id=id,
        environment=environment.id,
        limits=grant_task(environment, accepted.task),
        created_at=app.clock(),
    )
    submission = Submission(
        agreement_id=id,
        owner=owner,
        provider=PROVIDER,
        document=accepted.kept,
        secret=app.new_id(),
        idempotency_key=idempotency_key,
        dialect="tes",
    )
    if (size := len(msgspec.json.encode(accepted.kept))) > MAX_SIZE:
        raise DocumentError("$", f"a task of at most {MAX_SIZE} bytes, not {size}; put large `content` behind `url`")
    return Record(workflow, submission)
