"""Read the current Job of a workflow and apply what its state means: for a hint, and for a workflow that is due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, assert_never

from functions.cluster.ports import JobRef, JobStatus, State, job_ref
from functions.errors import Unavailable
from functions.trust.facts import of_manifest
from functions.workflow.decision import Verdict
from functions.workflow.hold_rules import scope
from functions.workflow.model import Manifest, Outcome, Scope, Stage, Workflow
from functions.workflow.observation import StageEnded, StageLost, StageObservation, StageStuck, Tick
from functions.workflow.stage_task import RELEASE_ATTEMPT
from functions.workflow.timing import read_deadline

if TYPE_CHECKING:
    from functions.engine.app import App


def reconcile(app: App, workflow: Workflow, cause: str, pod: str | None = None) -> Verdict:
    """Read the current Job of `workflow` and apply its state. `pod`: the name of its Pod, if an event named it."""
    if workflow.stage is None:
        return app.transitions.apply(workflow.id, Tick(), cause)
    ref = job_ref(workflow, workflow.stage, workflow.attempt, app.environments, workflow.executor)
    try:
        status = app.cluster.read(ref, pod)
        observation = observation_of(ref, status, _manifest(app, workflow, ref, status))
    except Unavailable:
        if not _is_given_up(app, workflow):
            raise
        return app.transitions.apply(workflow.id, Tick(), cause)
    verdict = app.transitions.apply(workflow.id, observation, cause)
    if app.telemetry is not None and verdict is Verdict.APPLIED and status.state is State.ENDED:
        from functions.engine.spans import tell_pod

        tell_pod(app.telemetry, workflow, ref, status)
    return verdict


def observation_of(ref: JobRef, status: JobStatus, manifest: Manifest | None = None) -> StageObservation | Tick:
    """Turn the state of a Job into an observation. `manifest`: the manifest of a publish that succeeded."""
    match status.state:
        case State.RUNNING:
            return Tick(runs_since=status.since)
        case State.SUSPENDED:
            return Tick(suspended=True)
        case State.STUCK:
            if status.since is None:  # the wait cannot be measured; the Job's own deadline ends it
                return Tick()
            return StageStuck(
                ref.stage, ref.attempt, status.uid, status.reason, status.since, status.definitive, ref.executor
            )
        case State.ENDED:
            return StageEnded(
                ref.stage,
                ref.attempt,
                status.uid,
                status.outcome or Outcome.FAILED,
                status.exit_code,
                status.reason,
                status.oom_killed,
                manifest,
                ref.executor,
                status.since,
                status.until,
                _facts(status, manifest),
            )
        case State.GONE:
            return StageLost(ref.stage, ref.attempt, ref.executor)
        case _:
            assert_never(status.state)


def _facts(status: JobStatus, manifest: Manifest | None) -> Mapping[str, str]:
    return status.facts if manifest is None else {**status.facts, **of_manifest(manifest)}


def _is_given_up(app: App, workflow: Workflow) -> bool:
    give_up_at = read_deadline(workflow)
    return give_up_at is not None and app.clock() >= give_up_at


def _manifest(app: App, workflow: Workflow, ref: JobRef, status: JobStatus) -> Manifest | None:
    """The manifest of a publish or a release that succeeded; read before the record is locked."""
    if status.outcome is not Outcome.SUCCEEDED:
        return None
    match ref.stage:
        case Stage.PUBLISH if scope(workflow) is Scope.QUARANTINE:
            return app.quarantine.manifest(ref.workflow, ref.attempt)
        case Stage.PUBLISH:
            return app.storage.manifest(ref.workflow, ref.attempt)
        case Stage.RELEASE:
            return app.storage.manifest(ref.workflow, RELEASE_ATTEMPT)
        case _:
            return None
