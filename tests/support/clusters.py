"""Drivers of clusters: what a test of the contract needs besides the port itself."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from msgspec.structs import replace
from support.fake_kube import FakeKube
from support.memory_cluster import MemoryCluster
from support.real_cluster import RealCluster

from functions.cluster.kubernetes.cluster import TICK_SCHEDULES, KubernetesCluster
from functions.cluster.ports import Cluster, JobRef, JobStatus, StageJob, State
from functions.settings import Settings
from functions.workflow.document import parse
from functions.workflow.environment import Environment
from functions.workflow.model import JobUid, Limits, Scope, Stage, WorkflowId
from functions.workflow.stage_options import GIB
from functions.workflow.tick import TickLevel

NAMESPACE = "demo"
PRINTED = b"hello\nthere\n"


def stage_job(
    workflow: str,
    stage: Stage = Stage.ALGORITHM,
    attempt: int = 1,
    entrypoint: str = "true",
    namespace: str = NAMESPACE,
    image: str = "python:3.12-slim",
) -> StageJob:
    """A Job whose program needs no data."""
    name, _, tag = image.rpartition(":")
    container = {"image": name, "tag": tag, "entrypoint": entrypoint}
    algorithm = {"container": container, "rawcode": "print('hello')"}
    document = {"stages": [{"index": 0, "input": [], "compute": {}, "output": {}, "algorithm": algorithm}]}
    return StageJob(
        workflow=WorkflowId(workflow),
        stage=stage,
        attempt=attempt,
        environment=Environment(id="demo", namespace=namespace),
        limits=Limits(algorithm_seconds=60, cpu=0.5, memory=GIB // 4, disk=GIB),
        definition=parse(document),
        secret="s3cr3t",
        scope=Scope.ALL,
        results="s3://results",
    )


class Driver(Protocol):
    """A cluster, and the power over it that the port does not give."""

    cluster: Cluster

    def job(self, workflow: str, *, ends_with: int | None = None, attempt: int = 1) -> StageJob:
        """Make an algorithm's Job that prints PRINTED and ends with that exit code, or runs until it is deleted (None).

        What it needs (the volume) exists.
        """
        ...

    def create(self, job: StageJob) -> JobUid:
        """Create the Job and let it end as `job` was told."""
        ...

    def lose(self, ref: JobRef) -> None:
        """Delete the Job as somebody else would."""
        ...

    def occupy(self, ref: JobRef) -> bool:
        """Give the name to somebody else's Job; False if this cluster cannot."""
        ...

    def tick(self) -> TickLevel | None:
        """The level at which ticks come; None if this cluster has none."""
        ...

    def close(self) -> None: ...


class MemoryDriver:
    def __init__(self) -> None:
        self._memory = MemoryCluster()
        self.cluster: Cluster = self._memory
        self._ends: dict[str, int | None] = {}

    def job(self, workflow: str, *, ends_with: int | None = None, attempt: int = 1) -> StageJob:
        job = stage_job(workflow, attempt=attempt)
        self._ends[job.ref.name] = ends_with
        return job

    def create(self, job: StageJob) -> JobUid:
        uid = self.cluster.create(job)
        code = self._ends[job.ref.name]
        if code is not None:
            self._memory.finish(job.ref, code, log=PRINTED)
        return uid

    def lose(self, ref: JobRef) -> None:
        self._memory.vanish(ref)

    def occupy(self, ref: JobRef) -> bool:
        self._memory.occupy(ref)
        return True

    def tick(self) -> TickLevel:
        return self._memory.tick

    def close(self) -> None:
        pass


class FakeKubeDriver:
    """The adapter for Kubernetes, over HTTP to a fake API."""

    def __init__(self, folder: Path) -> None:
        self.kube = FakeKube()
        self.cluster: Cluster = KubernetesCluster(
            Settings(kubeconfig=self.kube.kubeconfig(folder), tick_broker="sluice/sluice")
        )
        self._ends: dict[str, int | None] = {}

    def job(self, workflow: str, *, ends_with: int | None = None, attempt: int = 1) -> StageJob:
        self.cluster.create(stage_job(workflow, Stage.CONFIGURE))
        job = stage_job(workflow, attempt=attempt)
        self._ends[job.ref.name] = ends_with
        return job

    def create(self, job: StageJob) -> JobUid:
        uid = self.cluster.create(job)
        code = self._ends[job.ref.name]
        if code is not None:
            self.kube.logs[job.ref.name] = PRINTED
            self.kube.finish(job.ref.name, code)
        return uid

    def lose(self, ref: JobRef) -> None:
        self.kube.remove("jobs", ref.name)

    def occupy(self, ref: JobRef) -> bool:
        self.kube.put("jobs", {"metadata": {"name": ref.name}, "spec": {"suspend": True}})
        return True

    def tick(self) -> TickLevel:
        source = self.kube.find("pingsources", "tick", "sluice")
        schedules = {schedule: level for level, schedule in TICK_SCHEDULES.items()}
        return schedules[source["spec"]["schedule"]] if source else TickLevel.NONE

    def close(self) -> None:
        self.kube.close()


class RealKubeDriver:
    """The adapter for Kubernetes on a real cluster."""

    def __init__(self, real: RealCluster) -> None:
        self.cluster: Cluster = KubernetesCluster(real.settings)
        self._real = real
        self._workflows: list[WorkflowId] = []

    def job(self, workflow: str, *, ends_with: int | None = None, attempt: int = 1) -> StageJob:
        first = stage_job(workflow, Stage.CONFIGURE, namespace=self._real.namespace)
        self._workflows.append(first.workflow)
        self.cluster.create(first)
        until(lambda: self.cluster.read(first.ref), lambda status: status.state is State.ENDED, seconds=120)
        # The shell is process 1 and ends on SIGTERM, so that a deleted Job is gone at once.
        what = "sleep 3600" if ends_with is None else f"exit {ends_with}"
        return stage_job(
            workflow,
            attempt=attempt,
            entrypoint=f"sh -c 'echo hello; echo there; {what}'",
            namespace=self._real.namespace,
            image=self._real.algorithm_image,
        )

    def create(self, job: StageJob) -> JobUid:
        return self.cluster.create(job)

    def lose(self, ref: JobRef) -> None:
        self.cluster.delete(replace(ref, uid=None))

    def occupy(self, ref: JobRef) -> bool:
        return False

    def tick(self) -> None:
        """Return None: the tests' namespace has no Broker."""

    def close(self) -> None:
        self._real.remove(*self._workflows)


def until(read: Callable[[], JobStatus], is_right: Callable[[JobStatus], bool], seconds: float = 60) -> JobStatus:
    """Read until the status is right, or the time is over; the last status."""
    deadline = time.monotonic() + seconds
    while True:
        status = read()
        if is_right(status) or time.monotonic() > deadline:
            return status
        time.sleep(0.02)


def eventually(ask: Callable[[], bool], seconds: float = 60) -> bool:
    """Ask until the answer is yes, or the time is over; the last answer."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return answer
