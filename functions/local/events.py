"""CloudEvents in binary mode, as Knative's sources send them: what ApiServerSource says of a Job, and a tick."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec

from functions.cluster.identity import job_labels
from functions.cluster.processes import Asked, End
from functions.workflow.model import Outcome

Event = tuple[dict[str, str], bytes]  # headers and body

_RESOURCE = "dev.knative.apiserver.resource"
_SOURCE = "/apis/v1/sluice/node"


def job_event(asked: Asked, end: End | None, *, deleted: bool = False) -> Event:
    """What ApiServerSource (mode Resource) sends when a Job has ended or is gone."""
    ref = asked.job.ref
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": ref.name, "namespace": ref.namespace, "uid": asked.uid, "labels": job_labels(ref)},
        "spec": {"backoffLimit": 0},
        "status": {"conditions": _conditions(end)} if end else {},
    }
    headers = {
        **_attributes(f"{_RESOURCE}.{'delete' if deleted else 'update'}", _SOURCE),
        "ce-subject": f"/apis/batch/v1/namespaces/{ref.namespace}/jobs/{ref.name}",
        "ce-apiversion": "batch/v1",
        "ce-kind": "Job",
        "ce-name": ref.name,
        "ce-namespace": ref.namespace,
    }
    return headers, msgspec.json.encode(job)


def tick(name: str, namespace: str, data: str, content_type: str) -> Event:
    """What PingSource sends."""
    headers = _attributes("dev.knative.sources.ping", f"/apis/v1/namespaces/{namespace}/pingsources/{name}")
    return {**headers, "content-type": content_type}, data.encode()


def _attributes(kind: str, source: str) -> dict[str, str]:
    return {
        "ce-specversion": "1.0",
        "ce-id": str(uuid4()),
        "ce-source": source,
        "ce-type": kind,
        "ce-time": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
        "content-type": "application/json",
    }


def _conditions(end: End) -> list[dict[str, Any]]:
    if end.outcome is Outcome.SUCCEEDED:
        return [
            {"type": kind, "status": "True", "reason": "CompletionsReached"}
            for kind in ("SuccessCriteriaMet", "Complete")
        ]
    reason = "DeadlineExceeded" if end.outcome is Outcome.TIMED_OUT else "BackoffLimitExceeded"
    return [{"type": kind, "status": "True", "reason": reason} for kind in ("FailureTarget", "Failed")]
