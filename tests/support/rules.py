"""Every state a workflow can be in, found by walking: the ground for tests that speak of *all* states."""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from datetime import UTC, datetime, timedelta

from msgspec.structs import replace

from functions.workflow.decide import decide, submit
from functions.workflow.decision import Decision
from functions.workflow.model import JobUid, Limits, Manifest, Outcome, Phase, ResultFile, Stage, Workflow, WorkflowId
from functions.workflow.observation import (
    Admitted,
    Attested,
    DeleteRequested,
    FileViewed,
    HoldRejected,
    HoldReleased,
    Observation,
    Revoked,
    StageEnded,
    StageLost,
    StageObservation,
    StageStuck,
    StopRequested,
    Tick,
)
from functions.workflow.timing import stage_deadline

Shape = tuple[Hashable, ...]
NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LONG_AFTER = NOW + timedelta(days=30)
MANIFEST = Manifest((ResultFile("outputs/a.csv", 3, "output", "file:///r/a.csv"),))
UID = JobUid("uid-1")


def new(limits: Limits | None = None) -> Workflow:
    """A workflow as it is just after its submission."""
    return submit(Workflow(WorkflowId("w"), "ocean-compute", limits or Limits(), NOW), NOW).workflow


def at(stage: Stage, attempt: int = 1, limits: Limits | None = None, executor: int = 0) -> Workflow:
    """A workflow whose `stage` runs."""
    w = decide(new(limits), Admitted(), NOW).workflow
    deadline = stage_deadline(w.limits, stage, NOW)
    w = replace(w, phase=Phase(stage), attempt=attempt, executor=executor, deadline=deadline)
    return replace(w, job_uid=UID, job_created_at=NOW)


def ended(w: Workflow, outcome: Outcome, exit_code: int | None = None, reason: str = "", **more: object) -> Decision:
    assert w.stage is not None
    more = {"executor": w.executor, **more}
    end = StageEnded(w.stage, w.attempt, UID, outcome, exit_code, reason, **more)  # type: ignore[arg-type]
    return decide(w, end, NOW)


def failed_with(d: Decision) -> tuple[int, str]:
    assert d.workflow.ending is not None
    return d.workflow.ending.code, d.workflow.ending.reason


def waiting(stage: Stage, reason: str = "ImagePullBackOff", limits: Limits | None = None) -> Workflow:
    """A workflow whose `stage` was seen to wait and may go on waiting."""
    return decide(at(stage, limits=limits), StageStuck(stage, 1, UID, reason, NOW), NOW).workflow


def observations(w: Workflow) -> Iterator[Observation]:
    """One of every kind: of the current attempt, of others, with every outcome and the exit codes that matter."""
    yield from (Admitted(), StopRequested(), DeleteRequested(), Tick(), Tick(suspended=True), Tick(runs_since=NOW))
    yield from (HoldReleased(), HoldRejected(), FileViewed(0), Revoked(), Attested("ab" * 32))
    for stage in Stage:
        if stage is not w.stage:  # for the rules, one other Job is as irrelevant as the next
            yield StageLost(stage, 1)
            yield StageEnded(stage, 1, UID, Outcome.SUCCEEDED, 0, manifest=MANIFEST)
            continue
        for attempt in (w.attempt - 1, w.attempt + 1):
            yield StageEnded(stage, attempt, UID, Outcome.SUCCEEDED, 0, manifest=MANIFEST)
        yield StageEnded(stage, w.attempt, JobUid("another"), Outcome.SUCCEEDED, 0)
        if w.executor:  # a late event of the executor before
            yield StageEnded(stage, w.attempt, UID, Outcome.SUCCEEDED, 0, executor=w.executor - 1)
        yield from (replace(each, executor=w.executor) for each in _of_attempt(stage, w.attempt))


def _of_attempt(stage: Stage, attempt: int) -> Iterator[StageObservation]:
    """Every way in which the Job of an attempt can be seen."""
    yield StageLost(stage, attempt)
    yield StageStuck(stage, attempt, UID, "ImagePullBackOff", NOW)
    yield StageStuck(stage, attempt, UID, "NoPod", NOW)
    yield StageEnded(stage, attempt, UID, Outcome.SUCCEEDED, 0)
    yield StageEnded(stage, attempt, UID, Outcome.SUCCEEDED, 0, manifest=MANIFEST)
    yield StageEnded(stage, attempt, UID, Outcome.TIMED_OUT, reason="DeadlineExceeded")
    yield StageEnded(stage, attempt, None, Outcome.FAILED, reason="QuotaExceeded")
    for code in (3, 10, 11, 31, 32):
        yield StageEnded(stage, attempt, UID, Outcome.FAILED, code, "Error")
    yield StageEnded(stage, attempt, UID, Outcome.FAILED, 137, "OOMKilled", oom_killed=True)


def reachable(limits: Limits | None = None) -> dict[Shape, Workflow]:
    """All states that some sequence of observations leads to, one of each shape."""
    found: dict[Shape, Workflow] = {}
    queue = [new(limits)]
    while queue:
        w = queue.pop()
        recorded = replace(w, job_uid=UID, job_created_at=NOW) if w.stage else w
        for state in (w, recorded):  # before and after its Job is recorded
            if found.setdefault(_shape(state), state) is not state:
                continue
            for seen in observations(state):
                for now in (NOW, LONG_AFTER):
                    after = decide(state, seen, now).workflow
                    if _shape(after) not in found:
                        queue.append(after)
    return found


def _shape(w: Workflow) -> Shape:
    """What the rules tell states apart by: which times are set, but not which times they are; no reasons, no counts.

    A release that is asked for again numbers its attempts on, and the rules see only which of its own attempts runs.
    """
    return (
        (
            w.phase,
            w.executor,
            w.attempt % w.limits.attempts,
            w.job_uid,
            w.status,
            w.stop,
            w.removed,
            w.expired,
            w.findings,
        ),
        w.halt and w.halt.outcome,
        w.ending and w.ending.code,
        *(bool(each) for each in (w.waiting, w.deadline, w.wake_at, w.job_created_at, w.finished_at)),
        *(bool(each) for each in (w.runs_since, w.held_until)),
    )
