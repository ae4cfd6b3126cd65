"""The cluster as Kubernetes: Jobs are Jobs. The only module that decides which calls the API gets.

A workflow without faults costs at most 12 calls: 4 to begin with, 2 for each later Job, 1 to read each end, 1 to
clean up; none of them is a LIST. After a failure or a stop, publish costs 2 more, as does a release; prefetch costs 1.
k8s_install/binding.yml grants the rights for these calls and no others; a test compares.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import cached_property
from typing import Any

from functions.cluster.kubernetes import job_manifests, job_status
from functions.cluster.kubernetes.access import find_access
from functions.cluster.kubernetes.client import AlreadyExists, Api, Conflict
from functions.cluster.kubernetes.objects import (
    Body,
    controller_uid,
    get_mapping,
    get_mappings,
    get_text,
    is_being_deleted,
    name_of,
    uid_of,
)
from functions.cluster.kubernetes.workflow_status import workflow_status
from functions.cluster.labels import MANAGED_BY, MANAGER, SELECTOR, ref_of_labels
from functions.cluster.ports import (
    ClusterError,
    ClusterUnavailable,
    JobRef,
    JobStatus,
    NameConflict,
    Rejected,
    StageJob,
    State,
)
from functions.log import about
from functions.settings import Settings
from functions.workflow.model import JobUid, Outcome, Stage, Workflow, WorkflowId
from functions.workflow.tick import TickLevel

logger = logging.getLogger(__name__)

TICK_NAME = "tick"
# Knative's cron has an optional field for seconds, as the first of six.
TICK_SCHEDULES = {TickLevel.SLOW: "*/10 * * * *", TickLevel.MEDIUM: "*/2 * * * *", TickLevel.FAST: "*/15 * * * * *"}
CONTROLLER_UID = "batch.kubernetes.io/controller-uid"  # the label that Kubernetes gives to a Job's Pods

BEGINNINGS = (Stage.CONFIGURE, Stage.RELEASE)  # the stages before which nothing of the workflow is in the cluster


class KubernetesCluster:
    """The adapter. Connects at its first call, unless `api` is given."""

    def __init__(self, settings: Settings, api: Api | None = None) -> None:
        self._settings = settings
        self._given_api = api

    @cached_property
    def _api(self) -> Api:
        return self._given_api or Api(find_access(self._settings.kubeconfig), self._settings.pool_size)

    # --- create and delete ----------------------------------------------------------------------

    def create(self, job: StageJob) -> JobUid:
        namespace = job.ref.namespace
        owner_uid = self._owner_uid(job)
        manifest = job_manifests.stage_job(job, owner_uid, self._settings)
        if job.stage in BEGINNINGS or job.may_lack_volume:
            self._ensure(_path("v1", namespace, "secrets"), job_manifests.secret(job, owner_uid))
        if job.stage is Stage.CONFIGURE or job.may_lack_volume:
            self._ensure(_path("v1", namespace, "persistentvolumeclaims"), job_manifests.claim(job, owner_uid))
        try:
            uid = uid_of(self._api.post(_jobs(namespace), manifest))
        except AlreadyExists:
            return self._existing_job(job.ref)
        if job.stage is Stage.CONFIGURE and job.environment.prefetch:
            self._prefetch(job, owner_uid)
        return uid

    def _owner_uid(self, job: StageJob) -> str:
        """The UID of the ConfigMap that owns the workflow's objects.

        Configure and release create it. All other stages need the volume that it owns: without it, the data are lost.
        """
        path = _path("v1", job.ref.namespace, "configmaps")
        if job.stage in BEGINNINGS:
            with suppress(AlreadyExists):
                return uid_of(self._api.post(path, job_manifests.owner(job)))
        owner = self._api.get(f"{path}/{job.workflow}")
        if owner is None and job.stage not in BEGINNINGS:
            raise Rejected("VolumeLost", "the workflow's objects were deleted, and its data with them", final=True)
        if owner is not None and not _belongs_to(owner, job.workflow):
            raise NameConflict(f"a ConfigMap {job.workflow} exists and is not ours")
        if owner is None or is_being_deleted(owner):
            raise ClusterUnavailable("the workflow's objects are being deleted", retry_after=1)
        return uid_of(owner)

    def _ensure(self, path: str, body: Body) -> None:
        """Create an object unless it exists. Its name carries the UID of its owner, so an existing one is ours."""
        try:
            self._api.post(path, body)
        except AlreadyExists as e:
            if e.being_deleted:
                raise ClusterUnavailable(f"{name_of(body)} is being deleted", retry_after=1) from None

    def _prefetch(self, job: StageJob, owner_uid: str) -> None:
        """Have the algorithm's image pulled. Without this Pod the algorithm pulls its image itself, so errors pass."""
        try:
            self._api.post(_path("v1", job.ref.namespace, "pods"), job_manifests.prefetch_pod(job, owner_uid))
        except (AlreadyExists, ClusterError) as e:
            logger.info("image not pulled ahead of time: %s", e, extra=about(workflow=job.workflow))

    def _existing_job(self, ref: JobRef) -> JobUid:
        job = self._api.get(f"{_jobs(ref.namespace)}/{ref.name}")
        if job is None or is_being_deleted(job):
            raise ClusterUnavailable(f"{ref.name} is being deleted", retry_after=1)
        if not _is_job(job, ref):
            raise NameConflict(f"a Job {ref.name} exists and is not ours")
        return uid_of(job)

    def delete(self, ref: JobRef) -> bool:
        path = f"{_jobs(ref.namespace)}/{ref.name}"
        uid = ref.uid
        if uid is None:
            job = self._api.get(path)
            if job is None or not _is_job(job, ref):
                return True
            uid = uid_of(job)
        try:
            return not self._api.delete(path, {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}})
        except Conflict:
            job = self._api.get(path)
            if job is not None and uid_of(job) == uid:
                raise
            return True  # the precondition failed: this name belongs to another Job by now

    def clean_up(self, workflow: WorkflowId, namespace: str) -> None:
        path = _path("v1", namespace, "configmaps")
        self._api.delete(f"{path}/{workflow}", {"propagationPolicy": "Background"})

    def orphans(self, namespace: str, limit: int) -> Sequence[WorkflowId]:
        found = self._api.get(_path("v1", namespace, "configmaps"), labelSelector=SELECTOR, limit=str(limit)) or {}
        owners = get_mappings(found, "items")
        return [WorkflowId(name_of(owner)) for owner in owners if not is_being_deleted(owner)]

    # --- read -----------------------------------------------------------------------------------

    def read(self, ref: JobRef, pod: str | None = None) -> JobStatus:
        status = self._read_pod(ref, pod) if pod and ref.uid else None
        # Only the Job knows whether a failure is final.
        if status is not None and status.outcome is not Outcome.FAILED:
            return status
        job = self._api.get(f"{_jobs(ref.namespace)}/{ref.name}")
        if job is None or not _is_job(job, ref):
            return JobStatus(State.GONE)
        return job_status.status_of_job(job, self._pods(ref.namespace, uid_of(job)), ref.stage)

    def _read_pod(self, ref: JobRef, name: str) -> JobStatus | None:
        """The state of the Job by the Pod of that name; None if the Pod is not the Job's, or is disrupted."""
        pod = self._api.get(f"{_path('v1', ref.namespace, 'pods')}/{name}")
        if pod is None or controller_uid(pod) != ref.uid or job_status.is_disrupted(pod):
            return None
        return job_status.status_of_pod(pod, ref.stage)

    def _pods(self, namespace: str, job_uid: JobUid) -> list[Body]:
        """The Pods of a Job, the newest first."""
        found = self._api.get(_path("v1", namespace, "pods"), labelSelector=f"{CONTROLLER_UID}={job_uid}") or {}
        pods = [pod for pod in get_mappings(found, "items") if controller_uid(pod) == job_uid]
        return sorted(pods, key=lambda pod: get_text(get_mapping(pod, "metadata"), "creationTimestamp"), reverse=True)

    def logs(self, ref: JobRef, lines: int, max_bytes: int) -> Iterator[bytes]:
        if path := self._log_path(ref):
            query = {"container": job_status.CONTAINER, "tailLines": str(lines), "limitBytes": str(max_bytes)}
            yield from self._api.stream(path, max_bytes, **query)

    def follow(self, ref: JobRef, since: int) -> Iterator[bytes]:
        # The API cannot begin at a byte: read and drop what comes before. If there is less, the kubelet has dropped it.
        if path := self._log_path(ref):
            container = {"container": job_status.CONTAINER}
            available = sum(map(len, self._api.stream(path, since, limitBytes=str(since), **container))) if since else 0
            skip = since if available == since else 0
            for chunk in self._api.follow(path, follow="true", **container):
                if not chunk or len(chunk) > skip:
                    yield chunk[skip:]
                skip -= min(skip, len(chunk))

    def _log_path(self, ref: JobRef) -> str:
        """The path of the log of a Job's newest Pod; empty if there is none."""
        job = self._api.get(f"{_jobs(ref.namespace)}/{ref.name}")
        if job is None or not _is_job(job, ref):
            return ""
        pods = self._pods(ref.namespace, uid_of(job))
        return f"{_path('v1', ref.namespace, 'pods')}/{name_of(pods[0])}/log" if pods else ""

    # --- the tick -------------------------------------------------------------------------------

    def set_tick(self, level: TickLevel) -> None:
        """Costs one call, and from no tick to some tick two."""
        namespace, _, broker = self._settings.tick_broker.partition("/")
        if not broker:
            return
        collection = _path("sources.knative.dev/v1", namespace, "pingsources")
        path = f"{collection}/{TICK_NAME}"
        if level is TickLevel.NONE:
            self._api.delete(path, {})
            return
        source = ping_source(level, namespace, broker)
        try:
            if not self._api.patch(path, {"spec": source["spec"]}):
                self._api.post(collection, source)
        except AlreadyExists:  # created meanwhile
            self._api.patch(path, {"spec": source["spec"]})
        except Rejected as e:
            # 404 on a POST: the namespace of TICK_BROKER does not exist, or the kind PingSource.
            why = "its namespace or Knative Eventing is missing" if e.reason == "NamespaceMissing" else str(e)
            raise ClusterUnavailable(f"the PingSource {namespace}/{TICK_NAME} cannot be set: {why}") from None

    # --- WorkFlow objects -----------------------------------------------------------------------

    def workflow_object(self, origin: str) -> Mapping[str, Any] | None:
        return self._api.get(_workflow(origin))

    def report(self, origin: str, workflow: Workflow) -> None:
        if not self._api.patch(f"{_workflow(origin)}/status", {"status": workflow_status(workflow)}):
            raise Rejected("NotFound", f"there is no WorkFlow {origin} any more", final=True)


def ping_source(level: TickLevel, namespace: str, broker: str) -> dict[str, Any]:
    """The PingSource of a level. Its events name the level, so that a sweep notices if another one is recorded."""
    return {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "PingSource",
        "metadata": {"name": TICK_NAME, "namespace": namespace, "labels": {MANAGED_BY: MANAGER}},
        "spec": {
            "schedule": TICK_SCHEDULES[level],
            "contentType": "application/json",
            "data": json.dumps({"level": level.name}),
            "sink": {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": broker}},
        },
    }


def _belongs_to(body: Body, workflow: WorkflowId) -> bool:
    labels = get_mapping(body, "metadata", "labels")
    return labels.get(MANAGED_BY) == MANAGER and labels.get("workflow") == workflow


def _is_job(job: Body, ref: JobRef) -> bool:
    """Whether a Job of the right name is the one that `ref` means, and not one created in its place."""
    found = ref_of_labels(get_mapping(job, "metadata", "labels"), ref.namespace)
    return found is not None and found.name == ref.name and (ref.uid is None or uid_of(job) == ref.uid)


def _path(version: str, namespace: str, plural: str) -> str:
    root = "/api" if version == "v1" else "/apis"
    return f"{root}/{version}/namespaces/{namespace}/{plural}"


def _jobs(namespace: str) -> str:
    return _path("batch/v1", namespace, "jobs")


def _workflow(origin: str) -> str:
    namespace, _, name = origin.partition("/")
    return f"{_path('oceanprotocol.com/v1alpha', namespace, 'workflows')}/{name}"
