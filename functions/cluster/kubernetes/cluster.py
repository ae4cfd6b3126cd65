"""The cluster as Kubernetes: Jobs are Jobs. The only module that says what is asked of its API.

A workflow without faults costs at most 12 calls: 4 to begin with, 2 for each later Job, 1 to read each end, 1 to
clean up. Nothing lists on that path. The rights it needs are those of k8s_install/binding.yml, which a test compares.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import cached_property
from typing import Any

from functions.cluster.kubernetes import job_manifests, job_status
from functions.cluster.kubernetes.client import Api, Body, Conflict, access
from functions.cluster.labels import MANAGED_BY, MANAGER, OURS, ref_of_labels
from functions.cluster.ports import JobRef, JobStatus, NameConflict, Rejected, StageJob, State, Unavailable
from functions.settings import Settings
from functions.workflow.codes import failed
from functions.workflow.model import JobUid, Outcome, Stage, Workflow, WorkflowId

CONTROLLER = "batch.kubernetes.io/controller-uid"


class KubernetesCluster:
    """The adapter. Connects when it is first asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    @cached_property
    def _api(self) -> Api:
        return Api(access(self._settings.kubeconfig), self._settings.pool_size)

    # --- create and delete ----------------------------------------------------------------------

    def create(self, job: StageJob) -> JobUid:
        namespace = job.ref.namespace
        owner = self._owner(job)
        wanted = job_manifests.stage_job(job, owner, self._settings)
        if job.stage is Stage.CONFIGURE:
            self._ensure(_path("v1", namespace, "secrets"), job_manifests.secret(job, owner))
            self._ensure(_path("v1", namespace, "persistentvolumeclaims"), job_manifests.claim(job, owner))
        try:
            return job_status.uid(self._api.post(_jobs(namespace), wanted))
        except Conflict:
            return self._existing(job.ref)

    def _owner(self, job: StageJob) -> str:
        """The UID of what owns the workflow's objects. Only configure makes it: without it the data are lost."""
        path = _path("v1", job.ref.namespace, "configmaps")
        if job.stage is Stage.CONFIGURE:
            with suppress(Conflict):
                return job_status.uid(self._api.post(path, job_manifests.owner(job)))
        found = self._api.get(f"{path}/{job.workflow}")
        if found is None and job.stage is Stage.CONFIGURE:
            raise Unavailable("the workflow's objects are being removed", retry_after=1)
        if found is None:
            raise Rejected("VolumeLost", "the workflow's objects were removed, its data with them", final=True)
        if not _ours(found, job.workflow):
            raise NameConflict(f"a ConfigMap {job.workflow} exists and is not ours")
        return job_status.uid(found)

    def _ensure(self, path: str, body: Body) -> None:
        with suppress(Conflict):  # ours: its name carries the UID of its owner
            self._api.post(path, body)

    def _existing(self, ref: JobRef) -> JobUid:
        found = self._api.get(f"{_jobs(ref.namespace)}/{ref.name}")
        if found is None or job_status.leaving(found):
            raise Unavailable(f"{ref.name} is being deleted", retry_after=1)
        if not _is(found, ref):
            raise NameConflict(f"a Job {ref.name} exists and is not ours")
        return job_status.uid(found)

    def delete(self, ref: JobRef) -> bool:
        path = f"{_jobs(ref.namespace)}/{ref.name}"
        uid = ref.uid
        if uid is None:
            found = self._api.get(path)
            if found is None or not _is(found, ref):
                return True
            uid = job_status.uid(found)
        try:
            return not self._api.delete(path, {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}})
        except Conflict:  # another object of this name
            return True

    def clean_up(self, workflow: WorkflowId, namespace: str) -> None:
        path = _path("v1", namespace, "configmaps")
        self._api.delete(f"{path}/{workflow}", {"propagationPolicy": "Background"})

    def orphans(self, namespace: str, limit: int) -> Sequence[WorkflowId]:
        owners = self._api.get(_path("v1", namespace, "configmaps"), labelSelector=OURS, limit=str(limit)) or {}
        return [
            WorkflowId(job_status.text(job_status.part(found, "metadata"), "name"))
            for found in job_status.items(owners, "items")
            if not job_status.leaving(found)
        ]

    # --- read -----------------------------------------------------------------------------------

    def read(self, ref: JobRef, pod: str | None = None) -> JobStatus:
        if pod and ref.uid:
            found = self._api.get(f"{_path('v1', ref.namespace, 'pods')}/{pod}")
            if found is not None and job_status.controller(found) == ref.uid and job_status.trusted(found):
                live = job_status.judge_pod(found, ref.stage)
                if live.outcome is not Outcome.FAILED:  # whether a failure is final the Job knows
                    return live
        job = self._api.get(f"{_jobs(ref.namespace)}/{ref.name}")
        if job is None or not _is(job, ref):
            return JobStatus(State.GONE)
        pods = [] if job_status.job_succeeded(job) else self._pods(ref.namespace, job_status.uid(job))
        return job_status.judge_job(job, pods, ref.stage)

    def _pods(self, namespace: str, job: JobUid) -> list[Body]:
        """The Pods of a Job, the newest first."""
        found = self._api.get(_path("v1", namespace, "pods"), labelSelector=f"{CONTROLLER}={job}") or {}
        pods = [pod for pod in job_status.items(found, "items") if job_status.controller(pod) == job]
        return sorted(
            pods, key=lambda pod: job_status.text(job_status.part(pod, "metadata"), "creationTimestamp"), reverse=True
        )

    def logs(self, ref: JobRef, lines: int, max_bytes: int) -> Iterator[bytes]:
        job = self._api.get(f"{_jobs(ref.namespace)}/{ref.name}")
        if job is None or not _is(job, ref):
            return
        for pod in self._pods(ref.namespace, job_status.uid(job))[:1]:
            name = job_status.text(job_status.part(pod, "metadata"), "name")
            path = f"{_path('v1', ref.namespace, 'pods')}/{name}/log"
            wanted = {"container": job_status.CONTAINER, "tailLines": str(lines), "limitBytes": str(max_bytes)}
            yield from self._api.stream(path, max_bytes, **wanted)

    # --- WorkFlow objects -----------------------------------------------------------------------

    def workflow_object(self, origin: str) -> Mapping[str, Any] | None:
        return self._api.get(_workflow(origin))

    def report(self, origin: str, workflow: Workflow) -> None:
        if not self._api.patch(f"{_workflow(origin)}/status", {"status": status(workflow)}):
            raise Rejected("NotFound", f"there is no WorkFlow {origin} any more", final=True)


def status(workflow: Workflow) -> dict[str, Any]:
    """The status of a WorkFlow object. Null removes a field: a corrected object starts over."""
    ending, end = workflow.ending, workflow.finished_at
    has_failed = end is not None and failed(workflow.status)
    reason = ending.reason if ending else ""
    word = reason.partition(":")[0] or ("Finished" if end else workflow.phase.capitalize())
    return {
        "phase": "Failed" if has_failed else workflow.phase.capitalize(),
        "status": workflow.status,
        "reason": reason or None,
        "exitCode": ending.exit_code if ending else None,
        "startedAt": _stamp(workflow.created_at),
        "finishedAt": _stamp(end) if end else None,
        "conditions": [
            {
                "type": "Succeeded",
                "status": "Unknown" if end is None else str(not has_failed),
                "reason": word,
                "message": reason,
                "lastTransitionTime": _stamp(end or workflow.created_at),
            }
        ],
    }


def _stamp(at: datetime) -> str:
    return at.isoformat(timespec="seconds").replace("+00:00", "Z")


def _ours(body: Body, workflow: WorkflowId) -> bool:
    labels = job_status.part(body, "metadata", "labels")
    return labels.get(MANAGED_BY) == MANAGER and labels.get("workflow") == workflow


def _is(job: Body, ref: JobRef) -> bool:
    """Whether a Job of the right name is the one that was meant, and not one made in its place."""
    labels = job_status.part(job, "metadata", "labels")
    found = ref_of_labels(labels, ref.namespace)
    return found is not None and found.name == ref.name and (ref.uid is None or job_status.uid(job) == ref.uid)


def _path(version: str, namespace: str, plural: str) -> str:
    root = "/api" if version == "v1" else "/apis"
    return f"{root}/{version}/namespaces/{namespace}/{plural}"


def _jobs(namespace: str) -> str:
    return _path("batch/v1", namespace, "jobs")


def _workflow(origin: str) -> str:
    namespace, _, name = origin.partition("/")
    return f"{_path('oceanprotocol.com/v1alpha', namespace, 'workflows')}/{name}"
