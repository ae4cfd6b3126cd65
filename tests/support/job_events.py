"""The events of Jobs, which a deployment may watch besides those of Pods."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from functions.cluster.events import Action, ApiServerEvent, api_server_event
from functions.cluster.labels import job_labels
from functions.cluster.ports import JobRef, JobStatus
from functions.workflow.model import Outcome


def job_event(ref: JobRef, job: JobStatus, action: Action, event_id: str, at: datetime) -> ApiServerEvent:
    """The event of a Job in the given state."""
    status: dict[str, Any] = {"active": 1, "ready": 1, "terminating": 0}
    if job.outcome is Outcome.SUCCEEDED:
        conditions = [
            _condition("SuccessCriteriaMet", "CompletionsReached"),
            _condition("Complete", "CompletionsReached"),
        ]
        status = {"succeeded": 1, "terminating": 0, "conditions": conditions}
    elif job.outcome is not None:
        reason = "DeadlineExceeded" if job.outcome is Outcome.TIMED_OUT else "BackoffLimitExceeded"
        conditions = [_condition(kind, reason) for kind in ("FailureTarget", "Failed")]
        status = {"failed": 1, "terminating": 0, "conditions": conditions}
    deletion = {"deletionTimestamp": at.isoformat()} if action is Action.DELETE else {}
    metadata = {
        "name": ref.name,
        "namespace": ref.namespace,
        "uid": job.uid,
        "labels": job_labels(ref),
        **deletion,
    }
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata,
        "spec": {"backoffLimit": 0},
        "status": {} if action is Action.ADD else status,
    }
    return api_server_event(body, "jobs", action, event_id, at)


def _condition(kind: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": reason}
