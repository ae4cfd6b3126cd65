"""The Kubernetes objects of a workflow, as dicts to send. Pure.

    ConfigMap  <workflow>                        empty; owns all the others, which are deleted with it
    Secret     <workflow>-<start of its UID>     the task of configure and publish; Ocean's `secret`
    Claim      <workflow>-<start of its UID>     the volume, with the folders data and adminlogs
    Job        <workflow>-<stage>-<attempt>      one attempt of one stage
    Pod        <workflow>-prefetch               pulls the algorithm's image ahead of time, if the environment asks

The owner is a ConfigMap because every later stage must read its UID, and no function may read Secrets. The names of
the volume claim and the Secret carry that UID. So an object that a deleted owner leaves for a moment has another name.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from msgspec.structs import replace

from functions.cluster import stage_command
from functions.cluster.kubernetes.job_status import DISRUPTION
from functions.cluster.kubernetes.pods import SECRET_KEY, TASK_KEY, pod_template, prefetch_spec
from functions.cluster.labels import MANAGED_BY, job_labels, workflow_labels
from functions.cluster.ports import Rejected, StageJob
from functions.settings import Settings
from functions.workflow.model import Stage
from functions.workflow.quantity import format_quantity
from functions.workflow.timing import job_seconds

LONGEST_NAME = 63  # of a Job, because it becomes a label
# A finished Job is deleted with its owner. This outlasts a sweep that does not run for a night.
KEEP_FINISHED_SECONDS = 86_400
# Not `sluice`: neither the event sources nor the rules must take this Pod for that of a stage.
PREFETCHER = "sluice-prefetch"
TRACE_ANNOTATION = "sluice.dev/traceparent"  # the W3C trace context of the attempt
QUEUE_LABEL = "kueue.x-k8s.io/queue-name"


def owner(job: StageJob) -> dict[str, Any]:
    """The object that owns all others of the workflow."""
    return _object(job, "v1", "ConfigMap", job.workflow)


def secret(job: StageJob, owner_uid: str) -> dict[str, Any]:
    """The document, which may carry credentials in its URLs, and Ocean's `secret`."""
    data = {TASK_KEY: stage_command.task_json(job), SECRET_KEY: job.secret.encode()}
    return {
        **_object(job, "v1", "Secret", base_name(job, owner_uid), owner_uid),
        "type": "Opaque",
        "immutable": True,
        "data": {key: b64encode(value).decode() for key, value in data.items()},
    }


def claim(job: StageJob, owner_uid: str) -> dict[str, Any]:
    """The claim of the volume on which the stages work, one after the other."""
    environment = job.environment
    spec: dict[str, Any] = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": format_quantity(job.limits.disk)}},
    }
    if environment.storage_class:
        spec["storageClassName"] = environment.storage_class
    return {**_object(job, "v1", "PersistentVolumeClaim", base_name(job, owner_uid), owner_uid), "spec": spec}


def stage_job(job: StageJob, owner_uid: str, settings: Settings) -> dict[str, Any]:
    """The Job of one attempt. Raises Rejected if its name is too long."""
    manifest = _object(job, "batch/v1", "Job", job.ref.name, owner_uid)
    manifest["metadata"]["labels"] = job_labels(job.ref)
    spec: dict[str, Any] = {
        "backoffLimit": 0,  # the rules decide on another attempt, which is another Job
        "completions": 1,
        "parallelism": 1,
        "activeDeadlineSeconds": job_seconds(job.limits, job.stage),
        "ttlSecondsAfterFinished": KEEP_FINISHED_SECONDS,
        "podReplacementPolicy": "Failed",  # never two Pods on one volume at once
        "podFailurePolicy": {
            "rules": [
                {"action": _on_disruption(job.stage), "onPodConditions": [{"type": DISRUPTION, "status": "True"}]},
                # Such a failure is final, and the Job's condition names the exit code.
                {"action": "FailJob", "onExitCodes": {"operator": "NotIn", "values": [0]}},
            ]
        },
        "template": pod_template(job, settings, base_name(job, owner_uid)),
    }
    if job.environment.queue_name:
        manifest["metadata"]["labels"][QUEUE_LABEL] = job.environment.queue_name
        spec["suspend"] = True  # Kueue resumes it
    if job.traceparent:
        for metadata in (manifest["metadata"], spec["template"]["metadata"]):
            metadata["annotations"] = {**metadata.get("annotations", {}), TRACE_ANNOTATION: job.traceparent}
    return {**manifest, "spec": spec}


def prefetch_pod(job: StageJob, owner_uid: str) -> dict[str, Any]:
    """A Pod that pulls the algorithm's image while configure, the stage of `job`, fetches the data."""
    manifest = _object(job, "v1", "Pod", f"{job.workflow}-prefetch", owner_uid)
    # The network policies find it by the labels of an algorithm.
    labels = {**job_labels(replace(job.ref, stage=Stage.ALGORITHM)), MANAGED_BY: PREFETCHER}
    return {**manifest, "metadata": {**manifest["metadata"], "labels": labels}, "spec": prefetch_spec(job)}


def _on_disruption(stage: Stage) -> str:
    """The action when the Pod is drained, preempted or evicted.

    Our own programs run again. Others may not bear a second run beside what they have half-written, so they fail.
    """
    return "Ignore" if stage.is_ours else "FailJob"


def base_name(job: StageJob, owner_uid: str) -> str:
    """The name of the workflow's volume claim and Secret."""
    return f"{job.workflow}-{owner_uid[:8]}"


def _object(job: StageJob, version: str, kind: str, name: str, owner_uid: str = "") -> dict[str, Any]:
    if len(name) > LONGEST_NAME:
        raise Rejected(
            "Invalid",
            f"the name {name} is longer than {LONGEST_NAME} characters; use a shorter workflow id",
            final=True,
        )
    metadata: dict[str, Any] = {
        "name": name,
        "namespace": job.ref.namespace,
        "labels": workflow_labels(job.workflow),
    }
    if owner_uid:
        reference = {"apiVersion": "v1", "kind": "ConfigMap", "name": job.workflow, "uid": owner_uid}
        metadata["ownerReferences"] = [reference]
    return {"apiVersion": version, "kind": kind, "metadata": metadata}
