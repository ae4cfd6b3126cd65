"""The status of a WorkFlow object, as `kubectl get` and `kubectl wait` read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from functions.workflow.codes import failed
from functions.workflow.endings import told_ending
from functions.workflow.model import Workflow


def workflow_status(workflow: Workflow) -> dict[str, Any]:
    """Return the status as a merge patch: null removes a field, so a corrected object starts over."""
    ending, end = told_ending(workflow), workflow.finished_at
    has_failed = end is not None and failed(workflow.status)
    reason = ending.reason if ending else ""
    word = reason.partition(":")[0] or ("Finished" if end else workflow.phase.capitalize())
    return {
        "phase": "Failed" if has_failed else workflow.phase.capitalize(),
        "status": workflow.status,
        "reason": reason or None,
        "exitCode": ending.exit_code if ending else None,
        "startedAt": _timestamp(workflow.created_at),
        "finishedAt": _timestamp(end) if end else None,
        "conditions": [
            {
                "type": "Succeeded",
                "status": "Unknown" if end is None else str(not has_failed),
                "reason": word,
                "message": reason,
                "lastTransitionTime": _timestamp(end or workflow.created_at),
            }
        ],
    }


def _timestamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
