"""The events of a Job and its Pod as Knative's ApiServerSource sends them, for clusters that have none. Pure.

The bodies hold only what `functions/advance/event_filter.py` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from functions.cluster.kubernetes.job_status import CONTAINER
from functions.cluster.labels import JOB_NAME, job_labels
from functions.cluster.ports import JobRef, JobStatus
from functions.workflow.model import JobUid, Outcome


class Action(StrEnum):
    ADD = "add"
    UPDATE = "update"
    DELETE = "delete"


@dataclass(frozen=True, slots=True)
class ApiServerEvent:
    """A CloudEvent in binary mode: its HTTP headers, and the body to encode as JSON."""

    headers: Mapping[str, str]
    body: Mapping[str, Any]


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
    body = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(ref.name, ref, job.uid, at, deleted=action is Action.DELETE),
        "spec": {"backoffLimit": 0},
        "status": {} if action is Action.ADD else status,
    }
    return _event(body, "jobs", action, event_id, at)


def pod_event(ref: JobRef, job: JobStatus, event_id: str, at: datetime) -> ApiServerEvent:
    """The event of a Job's Pod whose container has ended, with the exit code and reason of `job`."""
    metadata = _metadata(pod_name(ref), ref, JobUid(f"pod-of-{job.uid}"), at)
    metadata["labels"] = {**job_labels(ref), JOB_NAME: ref.name}
    metadata["ownerReferences"] = [
        {"apiVersion": "batch/v1", "kind": "Job", "name": ref.name, "uid": job.uid, "controller": True}
    ]
    ended = {"exitCode": job.exit_code, "reason": "Completed" if job.exit_code == 0 else job.reason or "Error"}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": metadata,
        "status": {"phase": "Running", "containerStatuses": [{"name": CONTAINER, "state": {"terminated": ended}}]},
    }
    return _event(body, "pods", Action.UPDATE, event_id, at)


def pod_name(ref: JobRef) -> str:
    """The name of a Job's Pod on a cluster that gives each Job one Pod."""
    return f"{ref.name}-local"


def _condition(kind: str, reason: str) -> dict[str, str]:
    return {"type": kind, "status": "True", "reason": reason}


def _metadata(name: str, ref: JobRef, uid: JobUid | None, at: datetime, *, deleted: bool = False) -> dict[str, Any]:
    deletion = {"deletionTimestamp": _timestamp(at)} if deleted else {}
    return {"name": name, "namespace": ref.namespace, "uid": uid, "labels": job_labels(ref), **deletion}


def _event(body: Mapping[str, Any], plural: str, action: Action, event_id: str, at: datetime) -> ApiServerEvent:
    name, namespace, version = body["metadata"]["name"], body["metadata"]["namespace"], body["apiVersion"]
    prefix = "/api/" if version == "v1" else "/apis/"
    headers = {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-type": f"dev.knative.apiserver.resource.{action}",
        "ce-source": "sluice",
        "ce-subject": f"{prefix}{version}/namespaces/{namespace}/{plural}/{name}",
        "ce-time": _timestamp(at),
        "ce-apiversion": version,
        "ce-kind": body["kind"],
        "ce-name": name,
        "ce-namespace": namespace,
        "content-type": "application/json",
    }
    return ApiServerEvent(headers, body)


def _timestamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")
