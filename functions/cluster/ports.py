"""The port to the cluster: Jobs in, facts about them out.

Adapters: `memory` (tests), `processes` (the laptop), `kubernetes`. One contract suite runs on all of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from functions.workflow.document import Definition
from functions.workflow.environment import Environment
from functions.workflow.model import JobUid, Limits, Outcome, Scope, Stage, Workflow, WorkflowId


class ClusterError(Exception):
    """The base of what a cluster may answer instead of doing what it was asked."""


class Unavailable(ClusterError):
    """The cluster cannot answer now (down, too slow, throttling); ask again after `retry_after` seconds."""

    def __init__(self, message: str, retry_after: float = 5.0) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Rejected(ClusterError):
    """The cluster will not have this Job, or this status.

    `reason` is machine-readable: `QuotaExceeded`, `Invalid`, `Forbidden`.
    `final`: asking again cannot help (an invalid object); otherwise it may (a quota that frees up).
    """

    def __init__(self, reason: str, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.final = final


class NameConflict(ClusterError):
    """A Job of this name exists and is not ours: somebody else's object, never touched. An incident."""


def job_name(workflow: WorkflowId, stage: Stage, attempt: int) -> str:
    """The deterministic name of one attempt's Job; at most 63 characters for ids of at most 40."""
    return f"{workflow}-{stage}-{attempt}"


@dataclass(frozen=True, slots=True)
class JobRef:
    """One attempt's Job, by name; `uid` is None until its creation was recorded."""

    workflow: WorkflowId
    stage: Stage
    attempt: int
    namespace: str
    uid: JobUid | None = None

    @property
    def name(self) -> str:
        return job_name(self.workflow, self.stage, self.attempt)


def job_ref(workflow: Workflow, stage: Stage, attempt: int, environments: Mapping[str, Environment]) -> JobRef:
    """Name the Job of one attempt of a workflow's stage."""
    return JobRef(workflow.id, stage, attempt, namespace_of(workflow, environments), workflow.job_uid)


def namespace_of(workflow: Workflow, environments: Mapping[str, Environment]) -> str:
    """The namespace of a workflow's Jobs: fixed at submission; in old records that of its environment today."""
    if workflow.limits.namespace:
        return workflow.limits.namespace
    environment = environments.get(workflow.environment)
    return environment.namespace if environment else workflow.environment


@dataclass(frozen=True, slots=True)
class StageJob:
    """Everything an adapter needs to run one attempt of one stage."""

    workflow: WorkflowId
    stage: Stage
    attempt: int
    environment: Environment
    limits: Limits
    definition: Definition
    secret: str  # Ocean's job secret, given to the algorithm as `secret`
    scope: Scope  # for publish
    results: str  # storage URL below which publish writes

    @property
    def ref(self) -> JobRef:
        return JobRef(self.workflow, self.stage, self.attempt, self.limits.namespace or self.environment.namespace)


class State(StrEnum):
    RUNNING = "running"  # created and not ended, whatever it does
    SUSPENDED = "suspended"
    STUCK = "stuck"  # has no running container, with a reason that heals late or never
    ENDED = "ended"
    GONE = "gone"  # no such Job


@dataclass(frozen=True, slots=True)
class JobStatus:
    """What the cluster says of a Job right now."""

    state: State
    uid: JobUid | None = None
    outcome: Outcome | None = None  # ENDED
    exit_code: int | None = None  # of the container, where it is known
    reason: str = ""  # `OOMKilled`, `DeadlineExceeded`, `ImagePullBackOff`, or what a stage program said
    oom_killed: bool = False
    since: datetime | None = None  # STUCK: when the wait began; RUNNING: when its container did, where that is known


class Cluster(Protocol):
    """Jobs, on Kubernetes or as processes on this machine. All methods may raise Unavailable."""

    def create(self, job: StageJob) -> JobUid:
        """Create the Job and what it needs; idempotent. Raises Rejected and AlienJob."""
        ...

    def delete(self, ref: JobRef) -> bool:
        """Have the Job deleted, its Pods with it; idempotent. True if nothing of it is left already."""
        ...

    def read(self, ref: JobRef, pod: str | None = None) -> JobStatus:
        """The truth about the Job. `pod`: the name of its Pod, where an event told it; saves a search."""
        ...

    def clean_up(self, workflow: WorkflowId, namespace: str) -> None:
        """Delete everything the workflow owns, running or not; idempotent."""
        ...

    def orphans(self, namespace: str, limit: int) -> Sequence[WorkflowId]:
        """The workflows that own anything in the cluster, at most `limit`; for the sweep."""
        ...

    def logs(self, ref: JobRef, lines: int, max_bytes: int) -> Iterator[bytes]:
        """The last `lines` of what the Job's program has printed so far, of these at most the first `max_bytes`.

        Empty where nothing is to be had.
        """
        ...

    def workflow_object(self, origin: str) -> Mapping[str, Any] | None:
        """The live WorkFlow object `origin` (`namespace/name`); None if there is none, or nothing that holds any."""
        ...

    def report(self, origin: str, workflow: Workflow) -> None:
        """Write the workflow's state into the status of the WorkFlow object `origin` (`namespace/name`).

        Raises Rejected.
        """
        ...
