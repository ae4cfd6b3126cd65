"""Decisions about a workflow: its new state, the effects to carry out, and a line of its history."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from functions.workflow.model import Manifest, Outcome, Phase, Stage, Workflow


class CreateJob(Struct, frozen=True):
    """Create the Job of one attempt. `after`: seconds from now."""

    stage: Stage
    attempt: int
    executor: int = 0
    after: float = 0


class DeleteJob(Struct, frozen=True):
    """Delete the Job of one attempt."""

    stage: Stage
    attempt: int
    executor: int = 0


class CleanUp(Struct, frozen=True):
    """Delete everything the workflow owns in the cluster."""


class RemoveResults(Struct, frozen=True):
    """Delete the published results."""


class RemoveQuarantine(Struct, frozen=True):
    """Delete what was held. The key that opens it is deleted first, together with the decision."""


class RemoveReleased(Struct, frozen=True):
    """Delete what a release has copied to the results, and keep the admin logs."""


class Report(Struct, frozen=True):
    """Update the status of the WorkFlow object."""


class Emit(Struct, frozen=True):
    """Send an event to the configured URLs: `started`, `finished`, `held`, … `after`: seconds from now."""

    kind: str
    after: int = 0


Effect = CreateJob | DeleteJob | CleanUp | RemoveResults | RemoveQuarantine | RemoveReleased | Report | Emit


class Verdict(StrEnum):
    """The effect of an observation."""

    APPLIED = "applied"
    UNCHANGED = "unchanged"  # true, but changes nothing yet
    DUPLICATE = "duplicate"  # recorded before
    LATE = "late"  # the workflow is finished
    FOREIGN = "foreign"  # another Job of the same name, or a stage that was never started
    UNKNOWN = "unknown"  # no such workflow


class HistoryEntry(Struct, frozen=True):
    """One line of a workflow's history."""

    step: int
    at: datetime
    before: Phase
    after: Phase
    status: int
    event: str  # what happened, one word or two: `submitted`, `algorithm failed`, `stop requested`
    reason: str = ""
    attempt: int = 0
    facts: Mapping[str, str] = {}  # digests and counts that the line proves
    digest: str = ""  # of the line in the hash chain (functions/trust/chain.py)


class AttemptEnd(Struct, frozen=True):
    """The end of the attempt that a decision closes."""

    stage: Stage
    attempt: int
    outcome: Outcome
    exit_code: int | None
    reason: str
    at: datetime
    executor: int = 0
    started_at: datetime | None = None  # of its container, if it ran


class Decision(Struct, frozen=True):
    """The new state and what must be done about it."""

    workflow: Workflow
    verdict: Verdict
    effects: tuple[Effect, ...] = ()
    lines: tuple[HistoryEntry, ...] = ()
    closed: AttemptEnd | None = None
    manifest: Manifest | None = None  # to be stored as the results
    held: Manifest | None = None  # to be stored as what is held
    slot_freed: bool = False
