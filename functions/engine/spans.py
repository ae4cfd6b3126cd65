"""The spans and measurements that follow from decisions. Imported only where telemetry is on.

A workflow's trace has a span for the whole, below it one for its wait in the queue, one for each attempt of each stage
(with the wait for its container and the run), one for each hold of its results, and one for each transition.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from functions import log
from functions.instruments import QUEUE_TIME, STAGES, TRANSITIONS, WORKFLOW_TIME
from functions.telemetry import Span, Telemetry
from functions.workflow import codes
from functions.workflow.decision import AttemptEnd, Decision, Verdict
from functions.workflow.hold_rules import FINDINGS_OF
from functions.workflow.model import Outcome, Phase, Stage, Workflow
from functions.workflow.trace_context import TraceContext, of_attempt, of_workflow, parent_of, parse, part_of

if TYPE_CHECKING:
    from functions.cluster.ports import JobRef, JobStatus

_FINDINGS = "findings"  # an outcome beside those of `Outcome`
Change = tuple[Workflow, Decision]  # the workflow before a decision, and the decision


def tell(telemetry: Telemetry, changes: Sequence[Change], now: datetime) -> None:
    """Tell of decisions that are committed."""
    for before, decision in changes:
        for span in spans(before, decision, now):
            telemetry.add(span)
        _measure(telemetry, before, decision, now)


def spans(before: Workflow, decision: Decision, now: datetime) -> Iterator[Span]:
    """Yield the spans that end with a decision."""
    root = of_workflow(decision.workflow)
    if not root.sampled:
        return
    for name, began in _waits(before, decision):
        yield _below(root, part_of(root, f"{name} {before.step}"), name, began, now, before)
    if decision.closed is not None:
        yield from _of_attempt(root, before, decision.closed)
    after = decision.workflow
    if after.finished and after.finished_at is not None and not before.finished:
        error = after.ending.reason if after.ending and codes.failed(after.status) else ""
        attributes = {**_about(after), "sluice.workflow.status": after.status}
        yield Span(
            "workflow", *root[:2], parent_of(after), after.created_at, after.finished_at, attributes, error=error
        )


def tell_transition(
    telemetry: Telemetry, workflow: Workflow, event: str, verdict: Verdict, began: datetime, now: datetime
) -> None:
    """Tell how long a transition took. Its span is linked to that of the request that caused it."""
    telemetry.measure(TRANSITIONS, (now - began).total_seconds(), event=event, verdict=verdict)
    root, request = of_workflow(workflow), parse(log.TRACEPARENT.get())
    if not root.sampled:
        return
    cause = f"{request.span_id if request else ''} {began.timestamp()} {event}"
    links = ((request.trace_id, request.span_id),) if request and request.trace_id != root.trace_id else ()
    attributes = {**_about(workflow), "sluice.transition.event": event, "sluice.transition.verdict": verdict.value}
    context = part_of(root, cause)
    telemetry.add(Span(f"transition {event}", *context[:2], root.span_id, began, now, attributes, links=links))


def tell_pod(telemetry: Telemetry, workflow: Workflow, ref: JobRef, status: JobStatus) -> None:
    """Tell what the Pod of an attempt that ended has waited for: a node, and then its image."""
    attempt = of_attempt(workflow, ref.stage, ref.attempt, ref.executor)
    if not attempt.sampled:
        return
    for name, began, ended in (
        ("schedule", workflow.job_created_at, status.scheduled),
        ("image pull", status.prepared, status.since),
    ):
        if began is not None and ended is not None:
            telemetry.add(_below(attempt, part_of(attempt, name), name, began, ended, workflow))


def _waits(before: Workflow, decision: Decision) -> Iterator[tuple[str, datetime]]:
    """The wait that ends with the decision, and when it began."""
    if decision.workflow.phase is before.phase:
        return
    if before.phase is Phase.QUEUED:
        yield "queue", before.created_at
    elif before.phase is Phase.HELD and before.held_until is not None:
        yield "held", before.held_until - timedelta(seconds=before.limits.hold_seconds)


def _of_attempt(root: TraceContext, before: Workflow, closed: AttemptEnd) -> Iterator[Span]:
    context = of_attempt(before, closed.stage, closed.attempt, closed.executor)
    began = _begin(before, closed)
    outcome = _outcome(closed)
    error = "" if outcome in (Outcome.SUCCEEDED, _FINDINGS) else closed.reason or outcome
    attributes = {
        **_about(before),
        "sluice.stage.name": closed.stage.value,
        "sluice.stage.attempt": closed.attempt,
        "sluice.stage.outcome": outcome,
        "sluice.stage.reason": closed.reason,
    }
    if closed.stage is Stage.ALGORITHM:
        attributes["sluice.stage.executor"] = closed.executor
    if closed.exit_code is not None:
        attributes["process.exit.code"] = closed.exit_code
    yield Span(closed.stage.value, *context[:2], root.span_id, began, closed.at, attributes, error=error)
    if closed.started_at is not None:
        yield _below(context, part_of(context, "wait"), "wait", began, closed.started_at, before)
        yield _below(context, part_of(context, "run"), "run", closed.started_at, closed.at, before, error)


def _outcome(closed: AttemptEnd) -> str:
    """How the attempt ended. A check that found something has done its work, although its program failed."""
    has_findings = closed.stage is Stage.CHECK and closed.exit_code in FINDINGS_OF
    return _FINDINGS if has_findings else closed.outcome.value


def _begin(before: Workflow, closed: AttemptEnd) -> datetime:
    """When the attempt's Job was created. For a Job that never was created: the start of its container, or its end."""
    return min(before.job_created_at or closed.started_at or closed.at, closed.at)


def _measure(telemetry: Telemetry, before: Workflow, decision: Decision, now: datetime) -> None:
    after, closed = decision.workflow, decision.closed
    environment = after.environment
    if before.phase is Phase.QUEUED and after.phase is not Phase.QUEUED:
        telemetry.measure(QUEUE_TIME, (now - before.created_at).total_seconds(), environment=environment)
    if closed is not None:
        seconds = (closed.at - _begin(before, closed)).total_seconds()
        telemetry.measure(STAGES, seconds, environment=environment, stage=closed.stage, outcome=_outcome(closed))
    if after.finished and after.finished_at is not None and not before.finished:
        seconds = (after.finished_at - after.created_at).total_seconds()
        telemetry.measure(WORKFLOW_TIME, seconds, environment=environment, status=str(int(after.status)))


def _below(
    parent: TraceContext,
    context: TraceContext,
    name: str,
    began: datetime,
    ended: datetime,
    workflow: Workflow,
    error: str = "",
) -> Span:
    return Span(name, *context[:2], parent.span_id, began, ended, _about(workflow), error=error)


def _about(workflow: Workflow) -> dict[str, str | int | float | bool]:
    return {"sluice.workflow.id": workflow.id, "sluice.environment": workflow.environment}
