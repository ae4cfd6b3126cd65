"""The rules of held results: how they come to wait, and what ends the wait. Pure; part of `decide`."""

from __future__ import annotations

from datetime import datetime
from typing import assert_never

from msgspec.structs import replace

from functions.workflow import steps
from functions.workflow.codes import Code
from functions.workflow.decision import Decision, Emit, RemoveResults, Verdict
from functions.workflow.model import Ending, Findings, Manifest, Phase, Scope, Stage, Stop, Workflow
from functions.workflow.observation import FileViewed, HoldObservation, HoldRejected, HoldReleased, Revoked

# Exit codes of the check program: it came to an end, and found something.
FINDINGS_OF = {10: Findings.REVIEW, 11: Findings.BLOCK}
# Reasons of the release program that no further attempt changes.
FINAL_RELEASE_REASONS = frozenset({"QuarantineChanged"})
STOPPED = Ending(Code.FINISHED, "StopRequested")
REJECTED = Ending(Code.FILTER_REFUSED, "Rejected")
EXPIRED = Ending(Code.FILTER_REFUSED, "HoldExpired")
BLOCKED = Ending(Code.FILTER_REFUSED, "OutputBlocked")


def scope(w: Workflow) -> Scope:
    """The scope of the publish stage: what it may let out.

    If a filter, checks or a hold guard the results, only outputs that have passed them leave: nothing after a failure
    or a stop, and never what the algorithm has printed, which may be the data themselves.
    """
    guarded = w.limits.guarded
    if w.ending is None:
        unguarded = Scope.OUTPUTS if guarded else Scope.ALL
        return Scope.QUARANTINE if steps.is_held_back(w) else unguarded
    unprovided = w.ending.code in (Code.DATA_FAILED, Code.ALGORITHM_PROVISIONING_FAILED)
    unseen = any(w.limits.images)  # only an algorithm that succeeded has shown that it ran with an allowed image
    return Scope.ADMIN_LOGS if guarded or unprovided or unseen else Scope.ALL


def allowed(w: Workflow, manifest: Manifest) -> Manifest:
    """The part of a manifest that becomes results: files only if the scope lets any out, whatever publish wrote.

    Warnings name files. Those of a workflow whose data failed may leave: no algorithm has run.
    """
    if scope(w) in (Scope.ALL, Scope.OUTPUTS):
        return manifest
    unprovided = w.ending is not None and w.ending.code == Code.DATA_FAILED
    warnings = manifest.warnings if unprovided else ()
    return replace(manifest, files=(), delivered=(), streams=(), warnings=warnings)


def checked(w: Workflow, findings: Findings, event: str, now: datetime) -> Decision:
    """The disclosure checks have ended. Without a hold nobody can review findings, so any finding keeps outputs in."""
    found = replace(w, findings=findings)
    if findings is not Findings.NONE and not steps.may_be_held(w):
        return steps.start(replace(found, ending=BLOCKED), Stage.PUBLISH, event, now, reason=BLOCKED.reason)
    return steps.start(found, Stage.PUBLISH, event, now, reason=findings.value)


def quarantined(w: Workflow, event: str, now: datetime, manifest: Manifest) -> Decision:
    """Everything is in quarantine: wait for a decision, unless the consumer has asked for a stop."""
    if w.stop is Stop.NONE:
        return steps.hold(w, event, now, manifest)
    return steps.finish(w, replace(w, ending=STOPPED), event, now, STOPPED.reason)


def stop_while_held(w: Workflow, stopped: Workflow, event: str, now: datetime) -> Decision:
    """The consumer asks for the end of a hold: nothing is released."""
    return steps.finish(w, replace(stopped, ending=STOPPED), event, now, STOPPED.reason)


def expire(w: Workflow, now: datetime) -> Decision:
    """Nobody has decided in time."""
    return _emitting(steps.finish(w, replace(w, ending=EXPIRED), "hold expired", now, EXPIRED.reason), "expired")


def can_wait_on(w: Workflow, reason: str, now: datetime) -> bool:
    """Whether a release that failed may be tried again later, without another decision."""
    in_time = w.held_until is not None and now < w.held_until
    return in_time and w.stop is Stop.NONE and reason not in FINAL_RELEASE_REASONS


def decide_hold(w: Workflow, observation: HoldObservation, now: datetime) -> Decision:
    """Return the decision that follows from a request about held or published results."""
    match observation:
        case Revoked():
            return _revoked(w, now)
        case FileViewed(index):
            held = w.phase in (Phase.HELD, Phase.RELEASE)
            return steps.applied(w, w, "file viewed", now, reason=str(index)) if held else Decision(w, Verdict.LATE)
        case HoldReleased() | HoldRejected() if w.phase is not Phase.HELD:
            return Decision(w, Verdict.LATE if w.finished or w.phase is Phase.RELEASE else Verdict.FOREIGN)
        case HoldReleased(decision):
            again = w.attempt + 1
            entered = steps.start(w, Stage.RELEASE, "release decided", now, attempt=again, extra=(Emit("decided"),))
            return steps.proven(entered, {"decision": decision})
        case HoldRejected(decision):
            ended = steps.finish(w, replace(w, ending=REJECTED), "rejected", now, REJECTED.reason)
            return steps.proven(_emitting(ended, "rejected"), {"decision": decision})
        case _:
            assert_never(observation)


def _revoked(w: Workflow, now: datetime) -> Decision:
    if not w.finished:
        return Decision(w, Verdict.FOREIGN)
    if w.removed or w.expired:
        return Decision(w, Verdict.DUPLICATE)
    taken_back = replace(w, removed=True, wake_at=None)
    return steps.applied(w, taken_back, "revoked", now, effects=(RemoveResults(), Emit("revoked")))


def released(w: Workflow, event: str, now: datetime, manifest: Manifest | None) -> Decision:
    """The decided files are among the consumer's results."""
    return _emitting(replace(steps.finish(w, w, event, now), manifest=manifest), "released")


def _emitting(decision: Decision, kind: str) -> Decision:
    """The decision with one more event."""
    return replace(decision, effects=(*decision.effects, Emit(kind)))
