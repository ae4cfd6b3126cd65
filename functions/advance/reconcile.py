"""Look at the truth and act on it: what `advance` does for an event and the sweep for a workflow that is due."""

from __future__ import annotations

from typing import TYPE_CHECKING

from functions.advance.event_filter import observation
from functions.cluster.ports import JobRef, JobStatus, State, job_ref
from functions.errors import Unavailable
from functions.workflow.decision import Verdict
from functions.workflow.model import Manifest, Outcome, Stage, Workflow
from functions.workflow.observation import StageObservation, Tick
from functions.workflow.timing import read_deadline

if TYPE_CHECKING:
    from functions.engine.app import App


def look(app: App, workflow: Workflow, cause: str, pod: str | None = None) -> Verdict:
    """Read the current Job of `workflow` and apply what is seen. `pod`: the name of its Pod, if an event told it."""
    if workflow.stage is None:
        return app.transitions.apply(workflow.id, Tick(), cause)
    ref = job_ref(workflow, workflow.stage, workflow.attempt, app.environments)
    try:
        seen = _seen(app, ref, pod)
    except Unavailable:
        if not _given_up(app, workflow):
            raise
        seen = Tick()
    return app.transitions.apply(workflow.id, seen, cause)


def _seen(app: App, ref: JobRef, pod: str | None) -> StageObservation | Tick:
    live = app.cluster.read(ref, pod)
    return observation(ref, live, _manifest(app, ref, live))


def _given_up(app: App, workflow: Workflow) -> bool:
    give_up_at = read_deadline(workflow)
    return give_up_at is not None and app.clock() >= give_up_at


def _manifest(app: App, ref: JobRef, live: JobStatus) -> Manifest | None:
    """What a publish that succeeded has published; read before the record is locked."""
    if ref.stage is Stage.PUBLISH and live.state is State.ENDED and live.outcome is Outcome.SUCCEEDED:
        return app.storage.manifest(ref.workflow, ref.attempt)
    return None
