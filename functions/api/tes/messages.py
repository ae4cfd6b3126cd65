"""What `submit` and `status` share for TES: the task that a request names, and answers as plain JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from werkzeug.wrappers import Response

from functions.api.auth.principal import Principal
from functions.api.http import Call, HttpError
from functions.store.values import TaskEntry
from functions.workflow.model import WorkflowId


def answer(value: Any) -> Response:
    """Answer with JSON."""
    return Response(msgspec.json.encode(value), 200, {"Content-Type": "application/json"})


def own_task(call: Call, principal: Principal) -> TaskEntry:
    """Return the task that the path names. Raises HttpError 404 if there is none, or if it is another owner's."""
    return task_of(call, principal, call.captured["id"])


def task_of(call: Call, principal: Principal, id: str) -> TaskEntry:
    """Return a task that the principal may see. Raises HttpError 404."""
    found = call.app.store.task(WorkflowId(id)) if len(id) <= 255 and "\0" not in id else None
    if found is None or not (principal.admin or found.owner == principal.owner):
        raise HttpError(404, f"there is no task {id}")
    return found


def spell_time(at: datetime) -> str:
    """Format a time as RFC 3339 with milliseconds, in UTC."""
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
