"""One trace for each workflow, from its submission to its end, as a receiver of OTLP gets it."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.api import ADMIN, NOW, Api, app, function
from support.otlp_receiver import Receiver, receiving
from support.rules import at
from werkzeug.test import Client

from functions import log
from functions.advance.notifications import hold_event
from functions.advance.sweep import sweep
from functions.cluster.ports import JobRef
from functions.engine import gauges, spans
from functions.instruments import OF_THE_RECORD, PUSHED
from functions.store.values import Outgoing
from functions.workflow.decision import AttemptEnd, Decision, Verdict
from functions.workflow.model import Manifest, Outcome, Stage, WorkflowId
from functions.workflow.observation import DeleteRequested, StageEnded, StageLost
from functions.workflow.trace_context import TraceContext, of_attempt, of_workflow, parse

TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture
def api(tmp_path: Path, receiver: Receiver) -> Iterator[Api]:
    made = Api(app(results_url=f"file://{tmp_path}", otlp_endpoint=receiver.url))
    assert made.app.telemetry is not None
    with closing(made.app.telemetry):
        yield made


def flushed(api: Api) -> None:
    assert api.app.telemetry is not None
    assert api.app.telemetry.flush(20)


def wait(api: Api, seconds: float) -> None:
    api.app.clock.pass_(seconds=seconds)  # type: ignore[attr-defined]


def run(api: Api, headers: dict[str, str] | None = None) -> str:
    """Run a workflow: 10 s of waiting for each container and 20 s of running; its id."""
    answered = api.post(api.start_body(), headers=headers)
    job: str = json.loads(answered.text)[0]["jobId"]
    for stage in (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH):
        wait(api, 30)
        now = api.app.clock()
        began, ended = now - timedelta(seconds=20), now
        api.cluster.finish(JobRef(WorkflowId(job), stage, 1, "ocean-compute"))
        seen = StageEnded(stage, 1, None, Outcome.SUCCEEDED, 0, started_at=began, ended_at=ended)
        if stage is Stage.PUBLISH:
            seen = replace(seen, manifest=Manifest())
        api.app.transitions.apply(WorkflowId(job), seen, "event")
    return job


def test_a_workflow_is_one_trace_with_the_true_times_of_its_parts(api: Api, receiver: Receiver) -> None:
    job = run(api, {"traceparent": TRACEPARENT})
    flushed(api)
    spans = [span for span in receiver.spans if span.attributes.get("sluice.workflow.id") == job]
    assert {span.trace_id for span in spans} == {TRACE}
    (root,) = receiver.named("workflow")
    (submission,) = receiver.named("POST /api/v1/operator/compute")
    assert (submission.trace_id, submission.parent) == (TRACE, PARENT)
    assert (root.parent, root.error) == (submission.span_id, "")
    assert (root.began, root.ended) == (NOW, NOW + timedelta(seconds=90))
    for number, name in enumerate(("configure", "algorithm", "publish")):
        (stage,) = receiver.named(name)
        begin = NOW + timedelta(seconds=30 * number)
        assert (stage.parent, stage.began, stage.ended) == (root.span_id, begin, begin + timedelta(seconds=30))
        waited, ran = ([s for s in receiver.named(part) if s.parent == stage.span_id] for part in ("wait", "run"))
        assert [(s.began, s.ended) for s in waited] == [(begin, begin + timedelta(seconds=10))]
        assert [(s.began, s.ended) for s in ran] == [(begin + timedelta(seconds=10), stage.ended)]
    assert {span.parent for span in receiver.named("transition StageEnded")} == {root.span_id}
    assert len({span.span_id for span in receiver.spans}) == len(receiver.spans)


def test_without_a_trace_of_the_client_the_request_begins_one(api: Api, receiver: Receiver) -> None:
    job = run(api)
    flushed(api)
    (submission,) = receiver.named("POST /api/v1/operator/compute")
    (root,) = receiver.named("workflow")
    assert (root.trace_id, root.parent, submission.parent) == (submission.trace_id, submission.span_id, "")
    recorded = api.app.store.get(WorkflowId(job))
    assert recorded is not None
    assert parse(recorded.workflow.traceparent) == TraceContext(submission.trace_id, submission.span_id)


def test_the_time_in_the_queue_is_a_span(api: Api, receiver: Receiver) -> None:
    # The environment has four slots.
    first, *_ = (WorkflowId(api.start(agreementId=f"0x{number}")["jobId"]) for number in range(5))
    wait(api, 60)
    api.app.transitions.apply(first, DeleteRequested(), "test")
    api.app.transitions.apply(first, StageLost(Stage.CONFIGURE, 1), "test")
    flushed(api)
    assert max(span.ended - span.began for span in receiver.named("queue")) == timedelta(seconds=60)


def test_a_failed_stage_and_its_workflow_name_the_reason(api: Api, receiver: Receiver) -> None:
    job = WorkflowId(api.start()["jobId"])
    api.end_stage(job, Stage.CONFIGURE)
    api.app.transitions.apply(job, StageEnded(Stage.ALGORITHM, 1, None, Outcome.FAILED, 3, "Error"), "event")
    flushed(api)
    (algorithm,) = receiver.named("algorithm")
    assert algorithm.error == "AlgorithmExit:3"
    assert algorithm.attributes["process.exit.code"] == 3


@pytest.mark.parametrize(
    ("exit_code", "reason", "outcome", "error"),
    [(10, "Review", "findings", ""), (11, "Blocked", "findings", ""), (1, "CheckFailed", "failed", "CheckFailed")],
)
def test_a_check_with_findings_is_no_error(exit_code: int, reason: str, outcome: str, error: str) -> None:
    before = at(Stage.CHECK)
    end = AttemptEnd(Stage.CHECK, 1, Outcome.FAILED, exit_code, reason, NOW)
    (span,) = spans.spans(before, Decision(before, Verdict.APPLIED, closed=end), NOW)
    assert (span.name, span.error) == ("check", error)
    assert (span.attributes["sluice.stage.outcome"], span.attributes["sluice.stage.reason"]) == (outcome, reason)


def test_the_executors_of_a_task_are_told_apart() -> None:
    before = at(Stage.ALGORITHM)
    ends = [AttemptEnd(Stage.ALGORITHM, 1, Outcome.SUCCEEDED, 0, "", NOW, executor=number) for number in (0, 1)]
    told = [next(spans.spans(before, Decision(before, Verdict.APPLIED, closed=end), NOW)) for end in ends]
    assert [span.attributes["sluice.stage.executor"] for span in told] == [0, 1]


def test_an_event_that_comes_twice_makes_no_second_span_of_a_stage(api: Api, receiver: Receiver) -> None:
    job = WorkflowId(api.start()["jobId"])
    ended = StageEnded(Stage.CONFIGURE, 1, None, Outcome.SUCCEEDED, 0)
    for _ in range(2):
        api.app.transitions.apply(job, ended, "event")
    flushed(api)
    assert len(receiver.named("configure")) == 1
    assert len(receiver.named("transition StageEnded")) == 2


def test_a_trace_that_is_not_sampled_is_not_told(api: Api, receiver: Receiver) -> None:
    run(api, {"traceparent": f"00-{TRACE}-{PARENT}-00"})
    flushed(api)
    assert receiver.spans == []
    assert receiver.metrics["sluice.workflow.duration"]


def test_requests_are_measured_by_route_and_status(api: Api, receiver: Receiver) -> None:
    api.get("/runningjobs", headers=ADMIN)
    api.get("/runningjobs")
    api.status.get("/healthz")
    api.status.get("/nowhere")
    flushed(api)
    points = receiver.metrics["http.server.request.duration"]
    labels = {"http.request.method": "GET", "url.scheme": "http", "http.route": "/api/v1/operator/runningjobs"}
    assert sorted((point["http.response.status_code"], count) for point, count in points) == [("200", 1), ("400", 1)]
    assert all(point.items() >= labels.items() for point, _ in points)


def test_an_internal_error_is_told_with_its_status(api: Api, receiver: Receiver) -> None:
    def broken() -> None:
        raise RuntimeError("secret")

    api.app.store.running = broken  # type: ignore[assignment, method-assign]
    assert api.get("/environments").status_code == 500
    flushed(api)
    (span,) = receiver.spans
    assert (span.error, span.attributes["error.type"]) == ("500", "500")


def test_no_token_signature_or_query_is_told(api: Api, receiver: Receiver) -> None:
    job = run(api)
    signed = api.signed("0xowner" + job, owner="0xowner", jobId=job)
    api.get("/compute", signed)
    api.get("/info", {"jobId": job}, headers=ADMIN)
    flushed(api)
    told = b"".join(body for _, _, body in receiver.requests)
    for secret in ("myAdminPass", signed["providerSignature"], "0xowner", "jobId=", "0xagreement"):
        assert secret.encode() not in told


def test_pushed_metrics_have_the_labels_of_their_instruments(api: Api, receiver: Receiver) -> None:
    run(api)
    flushed(api)
    pushed = {each.name: each for each in PUSHED}
    assert pushed.keys() - receiver.metrics.keys() == {"sluice.sweep.repairs"}
    for name in pushed.keys() & receiver.metrics.keys():
        for labels, _ in receiver.metrics[name]:
            assert labels.keys() - {"error.type"} == set(pushed[name].labels) - {"error.type"}


def test_the_sweep_pushes_the_metrics_of_the_record_and_its_repairs(api: Api, receiver: Receiver) -> None:
    job = WorkflowId(api.start()["jobId"])
    api.app.store.add_dead_letter("1", "why", {}, api.app.clock())
    api.cluster.vanish(JobRef(job, Stage.CONFIGURE, 1, "ocean-compute"))
    wait(api, 3600)
    sweep(api.app)
    flushed(api)
    assert receiver.metrics["sluice.dead_letters"] == [({}, 1)]
    assert ({"environment": "ocean-compute", "phase": "configure"}, 1) in receiver.metrics["sluice.workflows"]
    assert receiver.metrics["sluice.sweep.repairs"]
    pushed = {each.instrument for each in gauges.measured(api.app)}
    assert {each.name for each in pushed} <= set(receiver.metrics)
    assert pushed < set(OF_THE_RECORD)


def test_an_answer_does_not_wait_for_a_receiver_that_is_gone(tmp_path: Path) -> None:
    made = Api(app(results_url=f"file://{tmp_path}", otlp_endpoint="http://127.0.0.1:1"))
    assert made.start()["jobId"]
    assert made.app.telemetry is not None
    made.app.telemetry._closed = True  # nothing is left to flush at the end of the tests


def test_log_lines_carry_the_ids_of_their_trace(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    written = io.StringIO()
    handler = log.json_handler(written)
    logging.getLogger().addHandler(handler)
    try:
        job = run(api, {"traceparent": TRACEPARENT})
        advance = Client(function("advance", api.app))
        advance.post("/dead-letters", json={}, headers={"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"})
    finally:
        logging.getLogger().removeHandler(handler)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    of_job = [line for line in lines if line.get("workflow") == job]
    assert of_job
    assert {line["trace_id"] for line in of_job} == {TRACE}
    assert "1" * 32 in {line.get("trace_id") for line in lines}


def test_a_job_carries_the_context_of_its_attempt(api: Api) -> None:
    job = json.loads(api.post(api.start_body(), headers={"traceparent": TRACEPARENT}).text)[0]["jobId"]
    (ref,) = api.cluster.present()
    request = api.cluster.request(ref)
    workflow = api.app.store.state(WorkflowId(job))
    assert workflow is not None
    assert request is not None
    assert request.traceparent == str(of_attempt(workflow, Stage.CONFIGURE, 1))
    assert request.traceparent.startswith(f"00-{TRACE}-")


def test_a_trace_of_the_client_is_recorded_without_an_endpoint_too(tmp_path: Path) -> None:
    plain = Api(app(results_url=f"file://{tmp_path}"))
    job = json.loads(plain.post(plain.start_body(), headers={"traceparent": TRACEPARENT}).text)[0]["jobId"]
    other = plain.start(agreementId="0x2")["jobId"]
    first, second = (plain.app.store.state(WorkflowId(each)) for each in (job, other))
    assert first is not None
    assert second is not None
    assert (first.traceparent, second.traceparent) == (TRACEPARENT, "")
    assert of_workflow(first).trace_id == TRACE
    assert plain.app.telemetry is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}",
    ],
)
def test_what_is_no_trace_context_is_ignored(text: str) -> None:
    assert parse(text) is None


def test_a_trace_context_is_read_and_written() -> None:
    assert str(parse(TRACEPARENT)) == TRACEPARENT


def test_an_event_about_held_results_carries_the_trace(tmp_path: Path) -> None:
    plain = Api(app(results_url=f"file://{tmp_path}"))
    job = WorkflowId(json.loads(plain.post(plain.start_body(), headers={"traceparent": TRACEPARENT}).text)[0]["jobId"])
    record = plain.app.store.get(job)
    assert record is not None
    event = hold_event(plain.app, record, Outgoing(1, job, "held", 0, NOW))
    assert event["traceparent"] == TRACEPARENT
    untraced = replace(record, workflow=replace(record.workflow, traceparent=""))
    assert "traceparent" not in hold_event(plain.app, untraced, Outgoing(1, job, "held", 0, NOW))
