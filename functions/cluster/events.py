"""The events of a Job's Pod as Knative's ApiServerSource sends them, for clusters that have none. Pure.

The bodies hold only what `functions/advance/event_filter.py` reads.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from msgspec import Struct

from functions.cluster.kubernetes.job_status import CONTAINER
from functions.cluster.labels import JOB_NAME, job_labels
from functions.cluster.ports import JobRef, JobStatus
from functions.workflow.model import JobUid


class Action(StrEnum):
    ADD = "add"
    UPDATE = "update"
    DELETE = "delete"


class ApiServerEvent(Struct, frozen=True):
    """A CloudEvent in binary mode: its HTTP headers, and the body to encode as JSON."""

    headers: Mapping[str, str]
    body: Mapping[str, Any]


def pod_event(
    ref: JobRef, job: JobStatus, action: Action, event_id: str, at: datetime, traceparent: str = ""
) -> ApiServerEvent:
    """The event of the Pod of a Job in the given state. `traceparent`: of the attempt, if it has one."""
    deletion: dict[str, Any] = {"deletionTimestamp": _timestamp(at)} if action is Action.DELETE else {}
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": ref.name, "uid": job.uid, "controller": True}
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": pod_name(ref),
            "namespace": ref.namespace,
            "uid": JobUid(f"pod-of-{job.uid}"),
            "labels": {**job_labels(ref), JOB_NAME: ref.name},
            "ownerReferences": [owner],
            **deletion,
        },
        "status": _pod_status(job),
    }
    event = api_server_event(body, "pods", action, event_id, at)
    traced = {"ce-traceparent": traceparent} if traceparent else {}
    return ApiServerEvent({**event.headers, **traced}, event.body)


def _pod_status(job: JobStatus) -> dict[str, Any]:
    """The status of the Pod. Without an exit code it has failed as a whole: timed out, or lost."""
    if job.outcome is None:
        return {"phase": "Running"}
    if job.exit_code is None:
        return {"phase": "Failed", "reason": job.reason}
    reason = "Completed" if job.exit_code == 0 else job.reason or "Error"
    state = {"terminated": {"exitCode": job.exit_code, "reason": reason}}
    return {"phase": "Running", "containerStatuses": [{"name": CONTAINER, "state": state}]}


def pod_name(ref: JobRef) -> str:
    """The name of a Job's Pod on a cluster that gives each Job one Pod."""
    return f"{ref.name}-local"


def api_server_event(
    body: Mapping[str, Any], plural: str, action: Action, event_id: str, at: datetime
) -> ApiServerEvent:
    """The event of an object."""
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
