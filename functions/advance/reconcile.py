"""Look at the truth and act on it: what `advance` does for an event and the sweep for a workflow that is due."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from functions.advance.event_filter import observation
from functions.cluster.ports import JobRef, Live, State, Unavailable
from functions.engine.effects import job_of
from functions.results.ports import StorageUnavailable
from functions.workflow.model import Manifest, Outcome, Stage, StageObservation, Tick, Verdict, Workflow

if TYPE_CHECKING:
    from functions.engine.app import Sluice


def look(parts: Sluice, workflow: Workflow, cause: str, pod: str | None = None) -> Verdict:
    """Read the current Job of `workflow` and apply what is seen. `pod`: the name of its Pod, if an event told it."""
    if workflow.stage is None:
        return parts.transitions.apply(workflow.id, Tick(), cause)
    ref = job_of(parts, workflow, workflow.stage, workflow.attempt)
    try:
        seen = _seen(parts, ref, pod)
    except (Unavailable, StorageUnavailable):
        if not _given_up(parts, workflow):
            raise
        seen = Tick()
    return parts.transitions.apply(workflow.id, seen, cause)


def _seen(parts: Sluice, ref: JobRef, pod: str | None) -> StageObservation | Tick:
    live = parts.cluster.read(ref, pod)
    return observation(ref, live, _manifest(parts, ref, live))


def _given_up(parts: Sluice, workflow: Workflow) -> bool:
    """What cannot be seen is waited for, because an outage must not fail what ran well; but not for ever."""
    patience = timedelta(seconds=workflow.terms.queue_seconds)
    return workflow.deadline is not None and parts.clock() >= workflow.deadline + patience


def _manifest(parts: Sluice, ref: JobRef, live: Live) -> Manifest | None:
    """What a publish that succeeded has published; read before the record is locked."""
    if ref.stage is Stage.PUBLISH and live.state is State.ENDED and live.outcome is Outcome.SUCCEEDED:
        return parts.storage.manifest(ref.workflow, ref.attempt)
    return None
