"""A workflow and its record. Frozen values; times are timezone-aware UTC datetimes, and callers make times and ids."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import IntEnum, StrEnum
from typing import Any, NewType

from msgspec import Struct

WorkflowId = NewType("WorkflowId", str)
JobUid = NewType("JobUid", str)


class Stage(StrEnum):
    """The stages of a workflow, in the order in which they run; each is one Kubernetes Job."""

    CONFIGURE = "configure"
    ALGORITHM = "algorithm"
    FILTER = "filter"  # the operator's own container
    CHECK = "check"  # our disclosure checks
    PUBLISH = "publish"
    RELEASE = "release"  # what was held, after a decision

    @property
    def is_ours(self) -> bool:
        """Whether the stage runs our own program, which may run again at any time."""
        return self not in (Stage.ALGORITHM, Stage.FILTER)


class Phase(StrEnum):
    """The phase of a workflow: the name of the running stage, or a wait. HELD waits for a decision, without a Job."""

    QUEUED = "queued"
    CONFIGURE = "configure"
    ALGORITHM = "algorithm"
    FILTER = "filter"
    CHECK = "check"
    PUBLISH = "publish"
    HELD = "held"
    RELEASE = "release"
    FINISHED = "finished"


class Outcome(StrEnum):
    """The outcome of one attempt of a stage."""

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
    """The files that the publish stage may publish."""

    ALL = "all"  # outputs and the algorithm's logs, to the consumer; admin logs
    OUTPUTS = "outputs"  # outputs that passed a filter; the algorithm's log is one of the admin logs
    QUARANTINE = "quarantine"  # outputs, to a place of their own, until somebody has decided about them
    ADMIN_LOGS = "adminlogs"  # only what the operator may read, including the algorithm's log


class Hold(StrEnum):
    """When results wait for a decision, from the loosest to the strictest."""

    NEVER = "never"
    ON_FINDINGS = "on-findings"
    ALWAYS = "always"


class Findings(StrEnum):
    """The findings of the disclosure checks: none, some that a person should see, or some that block a file."""

    NONE = ""
    REVIEW = "review"
    BLOCK = "block"


# The phases without a Job. The store's statements and indexes name the phases that take a slot, too.
WAITING = (Phase.QUEUED, Phase.HELD, Phase.FINISHED)


class Limits(Struct, frozen=True):
    """The limits that the environment grants a workflow, fixed at its submission. Seconds, cores, bytes."""

    algorithm_seconds: int = 60
    stage_seconds: int = 3600  # configure, filter and publish, each
    queue_seconds: int = 86_400
    stuck_seconds: int = 60  # how long a Pod may wait with a fatal reason
    start_seconds: int = 600  # how long it may wait for its admission, a node and its volume
    attempts: int = 5  # of configure and publish; an algorithm is never run twice on purpose
    filtered: bool = False  # the environment puts a filter between algorithm and publish
    checked: bool = False  # a policy asks for disclosure checks
    hold: Hold = Hold.NEVER
    hold_seconds: int = 0  # how long results may wait for a decision
    storage_expiry: int = 0  # seconds after the end; 0 keeps results for ever
    cpu: float = 1
    memory: int = 1 << 30
    disk: int = 1 << 30
    gpus: int = 0
    namespace: str = ""  # where its Jobs run; empty in old records: where the environment's run now
    images: tuple[str, ...] = ()  # of each executor, the digest of the only image that a policy allows; empty: any
    ignore_errors: tuple[bool, ...] = ()  # of each executor of a TES task; empty for Ocean's document

    @property
    def executors(self) -> int:
        """The number of Jobs of the algorithm stage, one after the other."""
        return len(self.ignore_errors) or 1

    @property
    def guarded(self) -> bool:
        """Whether a filter, checks or a hold guard the results. The consumer then learns less."""
        return self.filtered or self.checked or self.hold is not Hold.NEVER


class Ending(Struct, frozen=True):
    """The ending of a workflow. Recorded once it is known; final once `finished_at` is set."""

    code: int  # Ocean status
    reason: str  # machine-readable: `OOMKilled`, `AlgorithmExit:3`, `StopRequested`, …
    exit_code: int | None = None
    oom_killed: bool = False


class Halt(Struct, frozen=True):
    """The running Job is being deleted; once it is gone, its stage ends with this outcome."""

    outcome: Outcome
    reason: str


class Waiting(Struct, frozen=True):
    """The reason why the stage's container does not run, and since when."""

    reason: str  # `ImagePullBackOff`, `Unschedulable`, …
    since: datetime


class Workflow(Struct, frozen=True):
    """The state of one workflow. Only `decide` makes new states.

    `executor`: the number, from 0, of the executor that the algorithm stage runs; `ran_seconds`: how long those before
    it ran. `step` counts its history lines. `wake_at`: when the sweep must check it again; an unfinished workflow
    always has one. `deadline`: when the current wait (in the queue, for the stage, for a Job's deletion) is over.
    `waiting` and `runs_since`: the state of the stage's container when it was last read.
    """

    id: WorkflowId
    environment: str
    limits: Limits
    created_at: datetime
    phase: Phase = Phase.QUEUED
    attempt: int = 0
    executor: int = 0
    ran_seconds: int = 0
    job_uid: JobUid | None = None
    job_created_at: datetime | None = None  # by our clock; set together with `job_uid`
    waiting: Waiting | None = None
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
    findings: Findings = Findings.NONE
    held_until: datetime | None = None  # set when results are held, and kept
    head: str = ""  # the digest of the last history line
    traceparent: str = ""  # W3C trace context of the request that submitted it; empty without one
    salt: str = ""  # 64 hex digits; keys the digests of guessable things in the history

    @property
    def stage(self) -> Stage | None:
        """The running stage; None while queued, while held, and after the end."""
        return None if self.phase in WAITING else Stage(self.phase)

    @property
    def takes_slot(self) -> bool:
        """Whether it counts as running in its environment: releasing results needs no volume and no data."""
        return self.phase not in (*WAITING, Phase.RELEASE)

    @property
    def finished(self) -> bool:
        return self.phase is Phase.FINISHED


class ResultFile(Struct, frozen=True):
    """One published file. `url` is internal and never leaves; `path` is relative to /data."""

    path: str
    size: int  # bytes
    type: str  # output, algorithmLog, configrationLog (sic, Ocean), publishLog, filteringLog
    url: str
    sha256: str | None = None
    content_type: str | None = None
    plain_sha256: str | None = None  # of the bytes before they were encrypted, if they were
    plain_size: int | None = None
    sha512: str | None = None  # of the stored bytes, for the manifest of a bag

    @property
    def filename(self) -> str:
        """The name that clients see: the path below its folder, `plots/a.svg` for /data/outputs/plots/a.svg."""
        return self.path.split("/", 1)[1] if "/" in self.path else self.path


class DeliveredFile(Struct, frozen=True):
    """One output of a TES task at the URL that its client gave. `path`: in the container; `size` in bytes."""

    url: str
    path: str
    size: int
    sha256: str = ""


class Streams(Struct, frozen=True):
    """The ends of what one executor printed."""

    stdout: str = ""
    stderr: str = ""


class FetchedFile(Struct, frozen=True):
    """One file that configure has put in place: an entry of provenance.json. `path`: on the volume; `size` in bytes."""

    path: str
    source: str  # its kind: `https`, `rawcode`, `metadata`, …
    size: int
    sha256: str
    fetched_at: str = ""


class Manifest(Struct, frozen=True):
    """The list of published files: `files` for the consumer, `admin_files` for the operator only.

    `warnings` tell the consumer what was not published, or under another name. Of a TES task also what was delivered,
    and what each executor printed where nothing filters or holds it.
    """

    files: tuple[ResultFile, ...] = ()
    admin_files: tuple[ResultFile, ...] = ()
    warnings: tuple[str, ...] = ()
    report: str = ""  # of the disclosure checks, as JSON; for checkers alone
    delivered: tuple[DeliveredFile, ...] = ()
    streams: tuple[Streams, ...] = ()
    fetched: tuple[FetchedFile, ...] = ()  # what configure fetched; the history has its digest
    missing: tuple[str, ...] = ()  # declared outputs that were not there
    refused: tuple[str, ...] = ()  # outputs that the storage at their URL refused; container paths


# --- the record around the state ------------------------------------------------------------


class Submission(Struct, frozen=True):
    """The request and its owner. It never changes after the submission."""

    agreement_id: str
    owner: str
    provider: str
    document: Mapping[str, Any]  # Ocean's workflow: {"stages": […], "chainId": …}; or a TES task
    secret: str
    idempotency_key: str | None = None
    origin: str | None = None  # `namespace/name` of the WorkFlow object it came from
    adopted: bool = False  # operator-service recorded it; the provider that it stored signed nothing
    policy: str = ""  # the merged policy of its data sets, as canonical JSON; empty without one
    dialect: str = "ocean"  # the kind of document: `ocean`, `tes`
    warnings: tuple[str, ...] = ()  # what of a TES task is not done as it was asked for


class Record(Struct, frozen=True):
    """Everything that is known of one workflow."""

    workflow: Workflow
    submission: Submission
    manifest: Manifest = Manifest()
