"""The Kubernetes objects of a workflow, as dicts ready to be sent. Pure.

    ConfigMap  <workflow>                      empty; owns all the others: with it they go
    Secret     <workflow>-<8 of its UID>       the task of configure and publish; Ocean's `secret`
    Claim      <workflow>-<8 of its UID>       the volume: data and adminlogs, apart
    Job        <workflow>-<stage>-<attempt>    one attempt of one stage

The owner is a ConfigMap because every later stage must ask for its UID, and nobody may read Secrets. The volume and
the Secret carry that UID in their names, so that what a removed owner leaves for a moment is never taken for ours.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from functions.cluster import stage_command
from functions.cluster.kubernetes.job_status import DISRUPTED
from functions.cluster.kubernetes.pods import SECRET_KEY, TASK_KEY, pod, quantity
from functions.cluster.labels import job_labels, workflow_labels
from functions.cluster.ports import Rejected, StageJob
from functions.settings import Settings
from functions.workflow.model import Stage
from functions.workflow.steps import job_seconds

LONGEST_NAME = 63
# Long enough for a sweep that could not look for a night. What has finished is removed with its owner.
KEEP_FINISHED = 86_400
QUEUE = "kueue.x-k8s.io/queue-name"


def owner(job: StageJob) -> dict[str, Any]:
    """What owns everything else of the workflow."""
    return _object(job, "v1", "ConfigMap", job.workflow)


def secret(job: StageJob, owner_uid: str) -> dict[str, Any]:
    """The document, which may carry credentials in its URLs, and Ocean's `secret`."""
    data = {TASK_KEY: stage_command.task(job), SECRET_KEY: job.secret.encode()}
    return {
        **_object(job, "v1", "Secret", base_name(job, owner_uid), owner_uid),
        "type": "Opaque",
        "immutable": True,
        "data": {key: b64encode(value).decode() for key, value in data.items()},
    }


def claim(job: StageJob, owner_uid: str) -> dict[str, Any]:
    """The volume on which all stages work, one after the other."""
    environment = job.environment
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": quantity(job.limits.disk)}},
    }
    if environment.storage_class:
        spec["storageClassName"] = environment.storage_class
    return {**_object(job, "v1", "PersistentVolumeClaim", base_name(job, owner_uid), owner_uid), "spec": spec}


def stage_job(job: StageJob, owner_uid: str, settings: Settings) -> dict[str, Any]:
    """The Job of one attempt. Raises Rejected where its name is too long."""
    manifest = _object(job, "batch/v1", "Job", job.ref.name, owner_uid)
    manifest["metadata"]["labels"] = job_labels(job.ref)
    spec: dict[str, Any] = {
        "backoffLimit": 0,  # another attempt is another Job, which the rules decide
        "completions": 1,
        "parallelism": 1,
        "activeDeadlineSeconds": job_seconds(job.limits, job.stage),
        "ttlSecondsAfterFinished": KEEP_FINISHED,
        "podReplacementPolicy": "Failed",  # never two Pods on one volume
        "podFailurePolicy": {
            "rules": [
                {"action": _when_disrupted(job.stage), "onPodConditions": [{"type": DISRUPTED, "status": "True"}]},
                # Final, and the exit code then stands in the Job's condition too.
                {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
            ]
        },
        "template": pod(job, settings, base_name(job, owner_uid)),
    }
    if job.environment.queue_name:
        manifest["metadata"]["labels"][QUEUE] = job.environment.queue_name
        spec["suspend"] = True  # Kueue lets it go
    return {**manifest, "spec": spec}


def _when_disrupted(stage: Stage) -> str:
    """What becomes of the Job when its Pod is drained, preempted or evicted, which is not its program's fault.

    Our own programs start anew. Nobody knows whether another may run twice, beside what it has half-written.
    """
    return "Ignore" if stage in (Stage.CONFIGURE, Stage.PUBLISH) else "FailJob"


def base_name(job: StageJob, owner_uid: str) -> str:
    """The name of the workflow's volume claim and Secret."""
    return f"{job.workflow}-{owner_uid[:8]}"


def _object(job: StageJob, version: str, kind: str, name: str, owner_uid: str = "") -> dict[str, Any]:
    if len(name) > LONGEST_NAME:
        raise Rejected("Invalid", f"{name} is longer than {LONGEST_NAME} characters: a shorter workflow id", final=True)
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": job.ref.namespace,
        "labels": workflow_labels(job.workflow),
    }
    if owner_uid:
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": job.workflow, "uid": owner_uid}
        metadata["ownerReferences"] = [reference]
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
