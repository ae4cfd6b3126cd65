"""A World whose cluster is the adapter for Kubernetes on the fake API."""

from __future__ import annotations

from typing import Any

from support.fake_kube import LocalApi
from support.kube_answers import Object
from support.kube_objects import KubeObjects
from support.world import World

from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.labels import ref_of_name
from functions.cluster.ports import JobRef
from functions.settings import Settings
from functions.workflow.model import Manifest, Stage, WorkflowId
from functions.workflow.tick import TickLevel

UPDATE = {"ce-type": "dev.knative.apiserver.resource.update"}


class TickingCluster(KubernetesCluster):
    """The adapter with a tick that it only remembers: the fake API has no PingSource."""

    tick = TickLevel.NONE

    def set_tick(self, level: TickLevel) -> None:
        self.tick = level


class KubeWorld(World):
    """The whole system on the adapter for Kubernetes. Without `cluster`, it calls the API in this process."""

    def __init__(self, kube: KubeObjects, cluster: KubernetesCluster | None = None, **options: Any) -> None:
        cluster = cluster or TickingCluster(Settings(image="sluice:1"), LocalApi(kube))
        super().__init__(cluster=cluster, namespace="demo", **options)
        self.kube = kube
        kube.clock = self.clock

    def end_pod(self, workflow: WorkflowId) -> None:
        """End the current container with success and deliver the event of its Pod three times, as clusters do."""
        ref = self.job(workflow)
        self.publish(ref)
        pod = self.kube.terminate(ref.name, 0)
        for _ in range(3):
            self.receive(UPDATE, self.pod_body(pod))

    def publish(self, ref: JobRef) -> None:
        """Leave the manifest that a publish leaves which succeeds."""
        if ref.stage is Stage.PUBLISH:
            self.storage.put_manifest(ref.workflow, ref.attempt, Manifest())

    def pod_body(self, pod: str) -> Object:
        return {"kind": "Pod", "apiVersion": "v1", **(self.kube.find("pods", pod) or {})}

    def job_body(self, job: str) -> Object:
        return {"kind": "Job", "apiVersion": "batch/v1", **(self.kube.find("jobs", job) or {})}

    def finish_jobs(self) -> list[Object]:
        """Let the Jobs say that they ended, 2 s later; their events."""
        names = self.kube.names("jobs")
        for name in names:
            self.kube.finish(name)
        return [self.job_body(name) for name in names]


class KubeView:
    """What the invariants ask of a cluster, read from the fake API."""

    def __init__(self, kube: KubeObjects, cluster: Any) -> None:
        self._kube = kube
        self._cluster = cluster

    @property
    def tick(self) -> TickLevel:
        level: TickLevel = self._cluster.tick
        return level

    @property
    def created(self) -> Any:
        return self._kube.created

    def present(self) -> list[JobRef]:
        found = [ref_of_name(name, "demo") for name in self._kube.names("jobs")]
        return [ref for ref in found if ref is not None]

    def running(self) -> list[JobRef]:
        """The Jobs whose container has not ended."""
        return [ref for ref in self.present() if not self._has_ended(ref.name)]

    def _has_ended(self, job: str) -> bool:
        body = self._kube.find("jobs", job) or {}
        if body["status"].get("conditions"):
            return True
        pods = [self._kube.find("pods", name) or {} for name in self._kube.names("pods") if name.startswith(f"{job}-")]
        return any("terminated" in str(pod["status"]) for pod in pods)
