"""Observations of a workflow: requests of users, the state of its Jobs, and the passing of time."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec import Struct

from functions.workflow.model import JobUid, Manifest, Outcome, Stage


class Admitted(Struct, frozen=True):
    """The workflow has got a slot of its environment."""


class StageEnded(Struct, frozen=True):
    """The Job of one attempt came to an end, or could not be created (`job_uid` None)."""

    stage: Stage
    attempt: int
    job_uid: JobUid | None
    outcome: Outcome
    exit_code: int | None = None
    reason: str = ""
    oom_killed: bool = False
    manifest: Manifest | None = None  # publish only
    executor: int = 0
    started_at: datetime | None = None  # of the container, by its node's clock
    ended_at: datetime | None = None
    facts: Mapping[str, str] = {}  # digests for the history line


class StageStuck(Struct, frozen=True):
    """The Pod of one attempt waits since `since`, for a reason that may never pass.

    `definitive`: an image error that no further pull will change, such as an image that does not exist.
    """

    stage: Stage
    attempt: int
    job_uid: JobUid | None
    reason: str
    since: datetime
    definitive: bool = False
    executor: int = 0


class StageLost(Struct, frozen=True):
    """The Job of one attempt does not exist (any more)."""

    stage: Stage
    attempt: int
    executor: int = 0


class StopRequested(Struct, frozen=True):
    """A user asked to stop the workflow."""


class DeleteRequested(Struct, frozen=True):
    """A user asked to stop the workflow and to remove its results."""


class HoldReleased(Struct, frozen=True):
    """The decisions about held results are complete: something may leave. `decision`: the digest of the last one."""

    decision: str = ""


class HoldRejected(Struct, frozen=True):
    """Somebody who may do so has rejected the held results. `decision`: the digest of what was signed, if it was."""

    decision: str = ""


class FileViewed(Struct, frozen=True):
    """A checker has looked at a held file."""

    index: int


class Revoked(Struct, frozen=True):
    """Somebody who may do so has taken back what was released."""


class Attested(Struct, frozen=True):
    """A statement about the workflow was signed. `statement`: its sha256."""

    statement: str


class Tick(Struct, frozen=True):
    """Time passed; the Job has not ended.

    `suspended`: the Job waits for a queueing system (Kueue). `runs_since`: its container runs since then.
    """

    suspended: bool = False
    runs_since: datetime | None = None


StageObservation = StageEnded | StageStuck | StageLost
HoldObservation = HoldReleased | HoldRejected | FileViewed | Revoked
Observation = Admitted | StageObservation | StopRequested | DeleteRequested | HoldObservation | Attested | Tick
