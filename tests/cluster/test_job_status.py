"""The state of a Job by recorded objects, and hostile bodies of events."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.job_events import job_event
from support.recorded import FOLDER, SCENARIOS, START, job_events, pod_events

from functions.advance.event_filter import hint_of
from functions.cluster.events import Action, pod_event
from functions.cluster.kubernetes.job_status import status_of_job, status_of_pod
from functions.cluster.labels import job_labels, ref_of_labels, ref_of_name
from functions.cluster.ports import JobRef, JobStatus, State
from functions.workflow.model import JobUid, Outcome, Stage, WorkflowId

AFTER_FAILURE = json.loads((FOLDER / "pods-after-failure.json").read_text())


STUCK = json.loads((FOLDER / "pods-stuck-waiting.json").read_text())


refs = st.builds(
    JobRef,
    workflow=st.from_regex(r"[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?", fullmatch=True).map(WorkflowId),
    stage=st.sampled_from(Stage),
    attempt=st.integers(1, 99),
    namespace=st.just("demo"),
    executor=st.integers(0, 63),
)


@pytest.mark.parametrize("pod", AFTER_FAILURE, ids=lambda pod: pod["metadata"]["name"])
def test_the_pods_of_finished_jobs_tell_their_exit_codes(pod: dict[str, Any]) -> None:
    expected = {"exit-1": 1, "exit-42": 42, "hello": 0, "oom": 137, "retry": 3, "success": 0, "suspended": 0}
    [code] = [code for name, code in expected.items() if pod["metadata"]["name"].startswith(name)]
    status = status_of_pod(pod, Stage.ALGORITHM)
    assert (status.state, status.exit_code) == (State.ENDED, code)
    assert status.oom_killed == pod["metadata"]["name"].startswith("oom")


def test_the_message_of_an_algorithm_is_not_taken_for_a_reason() -> None:
    [pod] = [pod for pod in AFTER_FAILURE if pod["metadata"]["name"].startswith("exit-1-")]
    assert status_of_pod(pod, Stage.ALGORITHM).reason == "Error"
    assert status_of_pod(pod, Stage.CONFIGURE).reason == "Traceback"


@pytest.mark.parametrize(
    ("name", "reason"), [("w-config", "FailedMount"), ("w-image", "ImagePullBackOff"), ("w-unsched", "Unschedulable")]
)
def test_a_pod_that_never_starts_tells_its_reason_and_since_when(name: str, reason: str) -> None:
    [pod] = [pod for pod in STUCK if pod["metadata"]["name"].startswith(name)]
    status = status_of_pod(pod, Stage.ALGORITHM)
    assert (status.state, status.reason) == (State.STUCK, reason)
    assert status.since is not None
    assert status.since.isoformat() in ("2026-11-22T02:29:56+00:00", "2026-11-22T02:29:57+00:00")


@pytest.mark.parametrize(("ours", "state"), [("running", State.RUNNING), ("terminated", State.ENDED)])
def test_a_container_of_a_service_mesh_is_ignored(ours: str, state: State) -> None:
    proxy = {"name": "istio-proxy", "state": {"terminated": {"exitCode": 137}}}
    program = {"name": "main", "state": {ours: {"exitCode": 0}}}
    status = {"phase": "Running", "containerStatuses": [proxy, program]}
    assert status_of_pod({"metadata": {}, "status": status}, Stage.ALGORITHM).state is state


@given(refs)
def test_labels_and_names_lead_back_to_their_job(ref: JobRef) -> None:
    assert ref_of_labels(job_labels(ref), "demo") == ref
    assert ref_of_name(ref.name, "demo") == ref


@pytest.mark.parametrize("workflow", ["a\0b", "", "a" * 64, "../x", None, 3])
def test_a_label_that_kubernetes_would_refuse_names_no_workflow(workflow: Any) -> None:
    labels = job_labels(JobRef(WorkflowId("w"), Stage.CONFIGURE, 1, "demo"))
    assert ref_of_labels({**labels, "workflow": workflow}, "demo") is None


@given(refs)
def test_kubernetes_accepts_every_label_and_name(ref: JobRef) -> None:
    label = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,61})?[A-Za-z0-9]")
    assert all(label.fullmatch(value) for value in job_labels(ref).values())
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", ref.name)


@pytest.mark.parametrize(
    "name", ["", "configure-1", "w-configure-0", "w-configure-01", "w-other-1", "W-publish-1", "w-publish-1-x"]
)
def test_other_names_are_not_ours(name: str) -> None:
    assert ref_of_name(name, "demo") is None


@given(refs, st.sampled_from([0, 3, None]))
def test_our_own_events_are_read_like_those_of_a_cluster(ref: JobRef, code: int | None) -> None:
    uid = JobUid("u")
    outcome = {0: Outcome.SUCCEEDED, 3: Outcome.FAILED, None: Outcome.TIMED_OUT}[code]
    status = JobStatus(State.ENDED, uid, outcome, code)
    told = job_event(ref, status, Action.UPDATE, "1", START)
    read = status_of_job(told.body, [], ref.stage)
    assert (read.state, read.uid, read.outcome) == (State.ENDED, uid, outcome)
    events = [told, *(pod_event(ref, status, action, "2", START) for action in (Action.UPDATE, Action.DELETE))]
    for event in events:
        attributes = {key.removeprefix("ce-"): value for key, value in event.headers.items()}
        hint = hint_of(attributes, event.body)
        assert hint is not None
        assert hint.ref == ref
        recorded = (job_events("success") + pod_events("success"))[0]
        assert set(recorded.attributes) <= set(attributes)


def test_the_event_of_a_created_job_is_dropped() -> None:
    ref = JobRef(WorkflowId("w"), Stage.CONFIGURE, 1, "demo")
    running = JobStatus(State.RUNNING, JobUid("u"))
    for event in (job_event(ref, running, Action.ADD, "1", START), pod_event(ref, running, Action.ADD, "2", START)):
        attributes = {key.removeprefix("ce-"): value for key, value in event.headers.items()}
        assert hint_of(attributes, event.body) is None


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


EVENTS = [sent for scenario in SCENARIOS for sent in (*job_events(scenario), *pod_events(scenario))]


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(EVENTS), st.data())
def test_no_body_of_an_event_raises_an_error(sent: Any, data: st.DataObject) -> None:
    body = json.loads(json.dumps(sent.body))
    target: Any = body
    for _ in range(data.draw(st.integers(0, 5))):  # spoil it somewhere
        children = target.values() if isinstance(target, dict) else target
        deeper = [child for child in children if isinstance(child, dict | list) and child]
        if not deeper:
            break
        target = data.draw(st.sampled_from(deeper))
    key = data.draw(st.sampled_from(sorted(target))) if isinstance(target, dict) else 0
    target[key] = data.draw(anything)
    hint_of(sent.attributes, body)
    for stage in Stage:
        status_of_pod(body, stage)
        status_of_job(body, [body], stage)


@given(st.dictionaries(st.sampled_from(["type", "subject"]), anything), anything)
def test_an_arbitrary_event_is_dropped_without_an_error(attributes: dict[str, Any], body: Any) -> None:
    assert hint_of(attributes, body) is None
