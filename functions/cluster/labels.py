"""The labels on every object that we create, and the Job that labels or a name belong to."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from functions.cluster.ports import JobRef
from functions.workflow.model import Stage, WorkflowId

MANAGER = "sluice"
MANAGED_BY = "app.kubernetes.io/managed-by"
SELECTOR = f"{MANAGED_BY}={MANAGER}"  # selects every object that we create
JOB_NAME = "batch.kubernetes.io/job-name"  # Kubernetes sets it on a Job's Pods
_ATTEMPT = re.compile(r"[1-9][0-9]{0,3}")
_WORKFLOW = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")  # what a label may hold
_EXECUTOR = re.compile(r"0|[1-9][0-9]?")
_NAME = re.compile(
    rf"(?P<workflow>[a-z0-9-]+)-(?P<stage>{'|'.join(Stage)})-(?P<attempt>{_ATTEMPT.pattern})"
    rf"(?:-(?P<executor>{_EXECUTOR.pattern}))?"
)


def workflow_labels(workflow: WorkflowId) -> dict[str, str]:
    """The labels of an object that belongs to a whole workflow; `app` and `workflow` as in operator-engine."""
    return {
        "app.kubernetes.io/name": MANAGER,
        "app.kubernetes.io/instance": workflow,
        MANAGED_BY: MANAGER,
        "app": workflow,
        "workflow": workflow,
    }


def job_labels(ref: JobRef) -> dict[str, str]:
    """The labels of one attempt's Job and of its Pod."""
    labels = {
        **workflow_labels(ref.workflow),
        "app.kubernetes.io/component": ref.stage.value,
        "component": ref.stage.value,
        "attempt": str(ref.attempt),
    }
    return {**labels, "executor": str(ref.executor)} if ref.executor else labels


def ref_of_labels(labels: Mapping[str, Any], namespace: str) -> JobRef | None:
    """The Job that these labels name; None if they are not ours."""
    workflow, stage, attempt = labels.get("workflow"), labels.get("component"), str(labels.get("attempt"))
    if labels.get(MANAGED_BY) != MANAGER or not isinstance(workflow, str) or not _WORKFLOW.fullmatch(workflow):
        return None
    executor = str(labels.get("executor", 0))
    if stage not in list(Stage) or not _ATTEMPT.fullmatch(attempt) or not _EXECUTOR.fullmatch(executor):
        return None
    return JobRef(WorkflowId(workflow), Stage(stage), int(attempt), namespace, executor=int(executor))


def ref_of_name(name: str, namespace: str) -> JobRef | None:
    """The Job of this name; None if the name is not one of ours."""
    found = _NAME.fullmatch(name)
    if not found:
        return None
    workflow, executor = WorkflowId(found["workflow"]), int(found["executor"] or 0)
    return JobRef(workflow, Stage(found["stage"]), int(found["attempt"]), namespace, executor=executor)
