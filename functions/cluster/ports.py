"""The port to the cluster: creates Jobs and tells their state.

Adapters: `kubernetes`, `processes` (the laptop), `instant` (every Job succeeds at once). The tests have one more that
they drive, and a contract suite that runs on all but `instant`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from functions.errors import Unavailable
from functions.workflow.environment import Environment
from functions.workflow.model import JobUid, Limits, Outcome, Scope, Stage, Workflow, WorkflowId
from functions.workflow.stage_task import HeldTask
from functions.workflow.tes_task import Document
from functions.workflow.tick import TickLevel


class ClusterError(Exception):
    """The base of the errors that a cluster raises."""


class ClusterUnavailable(ClusterError, Unavailable):
    """The cluster cannot answer now."""


class Rejected(ClusterError):
    """The cluster refuses this Job, or this status.

    `reason` is machine-readable: `QuotaExceeded`, `Invalid`, `Forbidden`.
    `final`: another try cannot succeed (an invalid object). Otherwise it may (a quota that frees up).
    """

    def __init__(self, reason: str, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.reason = reason
        self.final = final


class NameConflict(ClusterError):
    """An object of this name exists and is not ours. It is never touched; an operator must look into it."""


def job_name(workflow: WorkflowId, stage: Stage, attempt: int, executor: int = 0) -> str:
    """The name of one attempt's Job; at most 63 characters if the workflow's id has at most 40.

    The first executor of a TES task has the name of an algorithm; the others also have their number, from 1.
    """
    return f"{workflow}-{stage}-{attempt}" + (f"-{executor}" if executor else "")


class JobRef(Struct, frozen=True):
    """The Job of one attempt, by name; `uid` is None until its creation is recorded."""

    workflow: WorkflowId
    stage: Stage
    attempt: int
    namespace: str
    uid: JobUid | None = None
    executor: int = 0  # its number, from 0, where the algorithm stage of a TES task has several

    @property
    def name(self) -> str:
        return job_name(self.workflow, self.stage, self.attempt, self.executor)


def job_ref(
    workflow: Workflow, stage: Stage, attempt: int, environments: Mapping[str, Environment], executor: int = 0
) -> JobRef:
    """The Job of one attempt of a workflow's stage."""
    return JobRef(workflow.id, stage, attempt, namespace_of(workflow, environments), workflow.job_uid, executor)


def namespace_of(workflow: Workflow, environments: Mapping[str, Environment]) -> str:
    """The namespace of a workflow's Jobs: fixed at submission; in old records that of its environment today."""
    if workflow.limits.namespace:
        return workflow.limits.namespace
    environment = environments.get(workflow.environment)
    return environment.namespace if environment else workflow.environment


class StageJob(Struct, frozen=True):
    """Everything that an adapter needs to run one attempt of one stage."""

    workflow: WorkflowId
    stage: Stage
    attempt: int
    environment: Environment
    limits: Limits
    definition: Document
    secret: str  # Ocean's job secret, given to the algorithm as `secret`
    scope: Scope  # for publish
    results: str  # storage URL below which publish writes
    may_lack_volume: bool = False  # an earlier stage failed or was stopped, perhaps before it had a volume
    policy: str = ""  # what the data holders ask for, as JSON
    traceparent: str = ""  # W3C trace context of the attempt; empty if the workflow has none
    held: HeldTask | None = None  # how results are held, and which of them leave
    executor: int = 0  # its number, from 0
    owner: str = ""  # of a TES task

    @property
    def ref(self) -> JobRef:
        namespace = self.limits.namespace or self.environment.namespace
        return JobRef(self.workflow, self.stage, self.attempt, namespace, executor=self.executor)


class State(StrEnum):
    RUNNING = "running"  # created and not ended; its container may still wait
    SUSPENDED = "suspended"
    STUCK = "stuck"  # its container waits with a reason that may never pass
    ENDED = "ended"
    GONE = "gone"  # no such Job


class JobStatus(Struct, frozen=True):
    """The state of a Job, as the cluster reports it now."""

    state: State
    uid: JobUid | None = None
    outcome: Outcome | None = None  # ENDED
    exit_code: int | None = None  # of the container, if known
    reason: str = ""  # `OOMKilled`, `DeadlineExceeded`, `ImagePullBackOff`, or the reason that a stage program gave
    oom_killed: bool = False
    since: datetime | None = None  # STUCK: the start of the wait; else the start of the container, if known
    until: datetime | None = None  # ENDED: the end of the container, if known
    scheduled: datetime | None = None  # ENDED: when its Pod got a node, if known
    prepared: datetime | None = None  # ENDED: when its volumes and network were there, and the image was next
    definitive: bool = False  # STUCK: the registry said that there is no such image, or not for us
    facts: Mapping[str, str] = {}  # ENDED: the image that ran, what our program reported


class Cluster(Protocol):
    """Runs Jobs. Every method may raise ClusterUnavailable."""

    def create(self, job: StageJob) -> JobUid:
        """Create the Job and what it needs, and return the Job's UID; idempotent. Raises Rejected and NameConflict."""
        ...

    def delete(self, ref: JobRef) -> bool:
        """Delete the Job and its Pods; idempotent. True if they are gone, False if they still terminate."""
        ...

    def read(self, ref: JobRef, pod: str | None = None) -> JobStatus:
        """Read the state of the Job. `pod`: the name of its Pod, if an event named it; saves a search."""
        ...

    def clean_up(self, workflow: WorkflowId, namespace: str) -> None:
        """Delete everything that the workflow owns, running or not; idempotent."""
        ...

    def orphans(self, namespace: str, limit: int) -> Sequence[WorkflowId]:
        """List workflows that own anything in the cluster, at most `limit`."""
        ...

    def logs(self, ref: JobRef, lines: int, max_bytes: int) -> Iterator[bytes]:
        """Yield the last `lines` lines of the Job's log so far, cut after `max_bytes` bytes.

        Yields nothing if there is no log.
        """
        ...

    def follow(self, ref: JobRef, since: int) -> Iterator[bytes]:
        """Yield the Job's log from byte `since` on, as it is printed, until the Job's program has ended.

        Yields b"" as soon as there is a log, and then about once a second while nothing is printed. Yields nothing at
        all if there is no log yet, or none any more.
        """
        ...

    def set_tick(self, level: TickLevel) -> None:
        """Let ticks come at this level and no other; idempotent."""
        ...

    def workflow_object(self, origin: str) -> Mapping[str, Any] | None:
        """Read the WorkFlow object `origin` (`namespace/name`); None if it does not exist."""
        ...

    def report(self, origin: str, workflow: Workflow) -> None:
        """Write the workflow's state into the status of the WorkFlow object `origin`. Raises Rejected."""
        ...
