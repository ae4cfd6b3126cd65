"""Jobs, Pods and their events carry the trace of their workflow, and tell what their containers have waited for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from support.clusters import stage_job

from functions.cluster.events import Action, pod_event
from functions.cluster.kubernetes import job_manifests
from functions.cluster.kubernetes.job_status import status_of_pod
from functions.cluster.ports import JobStatus, State
from functions.engine.spans import tell_pod
from functions.settings import Settings
from functions.telemetry import Span, Telemetry
from functions.workflow.model import JobUid, Limits, Outcome, Stage, Workflow, WorkflowId
from functions.workflow.trace_context import of_attempt

CREATED = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
TRACEPARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
ANNOTATION = {"sluice.dev/traceparent": TRACEPARENT}


def at(seconds: int) -> datetime:
    return CREATED + timedelta(seconds=seconds)


def pod(ready: str = "True") -> dict[str, Any]:
    """A Pod whose container ran from second 30 to 40, after its image was pulled from second 5 on."""
    condition = {"status": "True", "lastTransitionTime": "2026-11-22T12:00:02Z"}
    prepared = {"status": ready, "lastTransitionTime": "2026-11-22T12:00:05Z"}
    times = {"startedAt": "2026-11-22T12:00:30Z", "finishedAt": "2026-11-22T12:00:40Z"}
    return {
        "metadata": {"name": "p", "ownerReferences": [{"kind": "Job", "uid": "u", "controller": True}]},
        "status": {
            "phase": "Running",
            "conditions": [
                {"type": "PodScheduled", **condition},
                {"type": "PodReadyToStartContainers", **prepared},
            ],
            "containerStatuses": [{"name": "stage", "state": {"terminated": {"exitCode": 0, **times}}}],
        },
    }


def test_a_job_and_its_pod_are_annotated_with_the_context_of_their_attempt() -> None:
    made = job_manifests.stage_job(replace(stage_job("w"), traceparent=TRACEPARENT), "uid", Settings())
    assert made["metadata"]["annotations"] == ANNOTATION
    assert made["spec"]["template"]["metadata"]["annotations"].items() >= ANNOTATION.items()


def test_a_job_without_a_trace_is_not_annotated() -> None:
    made = job_manifests.stage_job(stage_job("w"), "uid", Settings())
    assert "annotations" not in made["metadata"]
    assert not made["spec"]["template"]["metadata"]["annotations"].keys() & ANNOTATION.keys()


def test_a_pod_tells_when_it_was_scheduled_and_prepared() -> None:
    status = status_of_pod(pod(), Stage.ALGORITHM)
    assert (status.scheduled, status.prepared, status.since, status.until) == (at(2), at(5), at(30), at(40))


def test_a_pod_whose_network_is_gone_does_not_tell_when_it_was_prepared() -> None:
    """The time of the condition is then that of its end."""
    assert status_of_pod(pod(ready="False"), Stage.ALGORITHM).prepared is None


@pytest.mark.parametrize(("given", "headers"), [("", {}), (TRACEPARENT, {"ce-traceparent": TRACEPARENT})])
def test_an_event_of_a_pod_carries_the_context_of_its_attempt(given: str, headers: dict[str, str]) -> None:
    ended = JobStatus(State.ENDED, JobUid("u"), Outcome.SUCCEEDED, 0)
    event = pod_event(stage_job("w").ref, ended, Action.UPDATE, "1", CREATED, given)
    assert {name: value for name, value in event.headers.items() if "trace" in name} == headers


def test_the_waits_for_a_node_and_for_an_image_are_spans_of_the_attempt() -> None:
    told: list[Span] = []
    workflow = Workflow(WorkflowId("w"), "demo", Limits(), CREATED, job_created_at=CREATED, traceparent=TRACEPARENT)
    telemetry = Telemetry(lambda: lambda spans, _: told.extend(spans), delay=0)
    tell_pod(telemetry, workflow, stage_job("w").ref, status_of_pod(pod(), Stage.ALGORITHM))
    telemetry.close()
    attempt = of_attempt(workflow, Stage.ALGORITHM, 1)
    assert {(span.trace_id, span.parent) for span in told} == {(attempt.trace_id, attempt.span_id)}
    assert {span.name: (span.began, span.ended) for span in told} == {
        "schedule": (CREATED, at(2)),
        "image pull": (at(5), at(30)),
    }
