"""What can be observed of a workflow: requests of users, the state of its Jobs, and the passing of time."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from functions.workflow.model import JobUid, Manifest, Outcome, Stage


@dataclass(frozen=True, slots=True)
class Admitted:
    """A slot of the environment is this workflow's."""


@dataclass(frozen=True, slots=True)
class StageEnded:
    """The Job of one attempt came to an end, or could not be created (`job_uid` None)."""

    stage: Stage
    attempt: int
    job_uid: JobUid | None
    outcome: Outcome
    exit_code: int | None = None
    reason: str = ""
    oom_killed: bool = False
    manifest: Manifest | None = None  # publish only


@dataclass(frozen=True, slots=True)
class StageStuck:
    """The Pod of one attempt waits since `since`, with a reason that heals late or never.

    `definitive`: an image error that no further pull will change, such as an image that does not exist.
    """

    stage: Stage
    attempt: int
    job_uid: JobUid | None
    reason: str
    since: datetime
    definitive: bool = False


@dataclass(frozen=True, slots=True)
class StageLost:
    """The Job of one attempt does not exist (any more)."""

    stage: Stage
    attempt: int


@dataclass(frozen=True, slots=True)
class StopRequested:
    """Somebody who may do so asked for the end."""


@dataclass(frozen=True, slots=True)
class DeleteRequested:
    """Somebody who may do so asked for the end and for the removal of the results."""


@dataclass(frozen=True, slots=True)
class Tick:
    """Time passed and nothing else was seen.

    `suspended`: the Job waits for a queueing system (Kueue). `runs_since`: its container runs, and began then.
    """

    suspended: bool = False
    runs_since: datetime | None = None


StageObservation = StageEnded | StageStuck | StageLost
Observation = Admitted | StageObservation | StopRequested | DeleteRequested | Tick
