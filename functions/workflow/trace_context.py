"""The trace of a workflow, in the terms of W3C Trace Context. Pure.

One trace holds all spans of a workflow. Their ids follow from the workflow's, so any function can name a span that
another one has made or will make, and an event that is handled twice makes the same span twice.
"""

from __future__ import annotations

import re
from hashlib import sha256
from typing import NamedTuple

from functions.workflow.model import Stage, Workflow, WorkflowId

_TRACEPARENT = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})")
_SAMPLED = 1  # a bit of the flags


class TraceContext(NamedTuple):
    """One span of one trace, by their ids in hex. A trace that is not sampled is not exported."""

    trace_id: str
    span_id: str
    sampled: bool = True

    def __str__(self) -> str:
        """The text of the header `traceparent`."""
        return f"00-{self.trace_id}-{self.span_id}-{self.sampled:02x}"


def parse(text: str) -> TraceContext | None:
    """Read a `traceparent`; None if it is none."""
    found = _TRACEPARENT.fullmatch(text)
    return TraceContext(found[1], found[2], bool(int(found[3], 16) & _SAMPLED)) if found else None


def of_workflow(workflow: Workflow) -> TraceContext:
    """The span of the whole workflow, from its submission to its end."""
    parent = parse(workflow.traceparent)
    trace_id = parent.trace_id if parent else _derived(32, "trace", workflow.id)
    return TraceContext(trace_id, _derived(16, "workflow", workflow.id), parent.sampled if parent else True)


def parent_of(workflow: Workflow) -> str:
    """The span of the request that submitted it; empty if it is not known."""
    parent = parse(workflow.traceparent)
    return parent.span_id if parent else ""


def of_attempt(workflow: Workflow, stage: Stage, attempt: int, executor: int = 0) -> TraceContext:
    """The span of one attempt of a stage."""
    span_id = attempt_span_id(workflow.id, stage, attempt, executor)
    return of_workflow(workflow)._replace(span_id=span_id)


def attempt_span_id(workflow: WorkflowId, stage: Stage, attempt: int, executor: int = 0) -> str:
    return _derived(16, "attempt", workflow, stage, str(attempt), str(executor))


def part_of(context: TraceContext, name: str) -> TraceContext:
    """A part of a span, such as the wait for its container."""
    return context._replace(span_id=_derived(16, name, context.span_id))


def _derived(digits: int, *parts: str) -> str:
    return sha256("\0".join(parts).encode()).hexdigest()[:digits]
