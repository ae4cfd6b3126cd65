"""The words of the domain: what a workflow is, what can be seen of it, what can be decided.

Everything here is a frozen value. Times are timezone-aware UTC datetimes that callers pass in;
ids are made by callers too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, NewType

WorkflowId = NewType("WorkflowId", str)
JobUid = NewType("JobUid", str)


class Stage(StrEnum):
    """The stages of a workflow, in the order in which they run; each is one Kubernetes Job."""

    CONFIGURE = "configure"
    ALGORITHM = "algorithm"
    FILTER = "filter"
    PUBLISH = "publish"


class Phase(StrEnum):
    """Where a workflow stands. Between QUEUED and FINISHED it is the name of the running stage."""

    QUEUED = "queued"
    CONFIGURE = "configure"
    ALGORITHM = "algorithm"
    FILTER = "filter"
    PUBLISH = "publish"
    FINISHED = "finished"


class Outcome(StrEnum):
    """How one attempt of a stage ended."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    TIMED_OUT = "timed out"
    STOPPED = "stopped"
    LOST = "lost"


class Stop(IntEnum):
    """Ocean's `stopreq`."""

    NONE = 0
    REQUESTED = 1
    TIMED_OUT = 2


class Scope(StrEnum):
    """What the publish stage may let out."""

    ALL = "all"  # outputs and the algorithm's logs, to the consumer; admin logs
    OUTPUTS = "outputs"  # outputs, which a filter has passed; the algorithm's log is one of the admin logs
    ADMIN_LOGS = "adminlogs"  # what only the operator may read, the algorithm's log too


@dataclass(frozen=True, slots=True)
class Limits:
    """What the environment grants one workflow, fixed when it is submitted. Seconds, cores, bytes."""

    algorithm_seconds: int = 60
    stage_seconds: int = 3600  # configure, filter and publish, each
    queue_seconds: int = 86_400
    stuck_seconds: int = 60  # how long a Pod may wait with a fatal reason
    start_seconds: int = 600  # how long it may wait for its admission, a node and its volume
    attempts: int = 5  # of configure and publish; an algorithm is never run twice on purpose
    filtered: bool = False  # the environment puts a filter between algorithm and publish
    storage_expiry: int = 0  # seconds after the end; 0 keeps results for ever
    cpu: float = 1
    memory: int = 1 << 30
    disk: int = 1 << 30
    gpus: int = 0
    namespace: str = ""  # where its Jobs run; empty in old records: where the environment's run now


@dataclass(frozen=True, slots=True)
class Ending:
    """How a workflow will end, recorded when it is known and final once `finished_at` is set."""

    code: int  # Ocean status
    reason: str  # machine-readable: `OOMKilled`, `AlgorithmExit:3`, `StopRequested`, …
    exit_code: int | None = None
    oom_killed: bool = False


@dataclass(frozen=True, slots=True)
class Halt:
    """The running Job is being deleted; once it is gone its stage counts as ended like this."""

    outcome: Outcome
    reason: str


@dataclass(frozen=True, slots=True)
class Workflow:
    """The state of one workflow; `decide` is the only maker of new ones.

    `step` counts its history lines. `wake_at` is when the sweep must look at it again: an unfinished
    workflow always has one. `deadline` is when the current wait (queue, stage, halt) is over. `waiting` and
    `runs_since` are what was last seen of the stage's container.
    """

    id: WorkflowId
    environment: str
    limits: Limits
    created_at: datetime
    phase: Phase = Phase.QUEUED
    attempt: int = 0
    job_uid: JobUid | None = None
    job_created_at: datetime | None = None  # by our clock; set together with `job_uid`
    waiting: str = ""  # why it does not run: `ImagePullBackOff`, `Unschedulable`, …
    runs_since: datetime | None = None
    status: int = 1
    stop: Stop = Stop.NONE
    halt: Halt | None = None
    ending: Ending | None = None
    removed: bool = False
    expired: bool = False
    step: int = 0
    deadline: datetime | None = None
    wake_at: datetime | None = None
    finished_at: datetime | None = None
    reported: bool = False  # came from a WorkFlow object, whose status is kept up to date

    @property
    def stage(self) -> Stage | None:
        """The running stage, or None while queued and after the end."""
        return None if self.phase in (Phase.QUEUED, Phase.FINISHED) else Stage(self.phase)

    @property
    def finished(self) -> bool:
        return self.phase is Phase.FINISHED


@dataclass(frozen=True, slots=True)
class ResultFile:
    """One published file. `url` is internal and never leaves; `path` is relative to /data."""

    path: str
    size: int  # bytes
    type: str  # output, algorithmLog, configrationLog (sic, Ocean), publishLog, filteringLog
    url: str
    sha256: str | None = None
    content_type: str | None = None

    @property
    def filename(self) -> str:
        """The name that clients see: the path below its folder, `plots/a.svg` for /data/outputs/plots/a.svg."""
        return self.path.split("/", 1)[1] if "/" in self.path else self.path


@dataclass(frozen=True, slots=True)
class Manifest:
    """What publish let out: `files` for the consumer, `admin_files` for the operator alone."""

    files: tuple[ResultFile, ...] = ()
    admin_files: tuple[ResultFile, ...] = ()


# --- the record around the state ------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Submission:
    """What was asked for and by whom; never changes after the submission."""

    agreement_id: str
    owner: str
    provider: str
    document: Mapping[str, Any]  # Ocean's workflow: {"stages": […], "chainId": …}
    secret: str
    idempotency_key: str | None = None
    origin: str | None = None  # `namespace/name` of the WorkFlow object it came from
    adopted: bool = False  # operator-service recorded it; the provider that it stored signed nothing


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that is known of one workflow."""

    workflow: Workflow
    submission: Submission
    manifest: Manifest = field(default_factory=Manifest)
