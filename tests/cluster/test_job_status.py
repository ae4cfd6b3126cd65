"""The state of a Job by single objects, and hostile bodies of events."""

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
from functions.cluster.kubernetes.job_status import pod_is_noteworthy, status_of_job, status_of_pod
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


# --- names and labels -----------------------------------------------------------------------


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


# --- the events that adapters without ApiServerSource make -----------------------------------


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


# --- hostile bodies -------------------------------------------------------------------------

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


# --- details that only a unit test shows ----------------------------------------------------


@pytest.mark.parametrize("kind", ["Complete", "SuccessCriteriaMet"])
def test_a_job_that_has_succeeded_has_the_exit_code_zero(kind: str) -> None:
    job = {"metadata": {"uid": "u"}, "status": {"conditions": [{"type": kind, "status": "True"}]}}
    assert status_of_job(job, [], Stage.ALGORITHM) == JobStatus(State.ENDED, JobUid("u"), Outcome.SUCCEEDED, 0)


def pod(status: dict[str, Any], **metadata: Any) -> dict[str, Any]:
    owner = {"kind": "Job", "uid": "u", "controller": True}
    return {"metadata": {"ownerReferences": [owner], **metadata}, "status": status}


def ended(code: Any, **status: Any) -> dict[str, Any]:
    state = {"terminated": {"exitCode": code, **status}}
    return {"phase": "Running", "containerStatuses": [{"name": "main", "state": state}]}


def test_a_job_that_counts_a_success_is_not_stuck_for_want_of_a_pod() -> None:
    job = {"metadata": {"uid": "u"}, "status": {"startTime": "2026-11-22T02:29:57Z", "succeeded": 1}}
    assert status_of_job(job, [], Stage.ALGORITHM).state is State.RUNNING


def test_failures_without_any_reason_have_a_reason_of_ours() -> None:
    job = {"metadata": {"uid": "u"}, "status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    assert status_of_job(job, [], Stage.ALGORITHM).reason == "Failed"
    assert status_of_pod(pod({"phase": "Failed"}), Stage.ALGORITHM).reason == "PodFailed"
    assert status_of_pod(pod(ended(1)), Stage.ALGORITHM).reason == "Error"


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("DataUnavailable: x", "DataUnavailable"),
        ("Ok", "Ok"),
        ("X" + "a" * 63 + ": x", "X" + "a" * 63),
        ("X" + "a" * 64 + ": x", "Error"),
        ("dataUnavailable: x", "Error"),
        ("Data unavailable: x", "Error"),
        ("X: x", "Error"),
    ],
)
def test_a_reason_of_our_own_programs_is_one_word_of_2_to_64_characters(message: str, reason: str) -> None:
    assert status_of_pod(pod(ended(31, reason="Error", message=message)), Stage.CONFIGURE).reason == reason


def test_a_reason_of_the_kubelet_is_kept_whatever_our_program_wrote() -> None:
    status = status_of_pod(pod(ended(137, reason="OOMKilled", message="DataUnavailable: x")), Stage.CONFIGURE)
    assert (status.reason, status.oom_killed) == ("OOMKilled", True)


@pytest.mark.parametrize("code", [None, "3", 3.5])
def test_an_exit_code_that_is_no_number_is_a_failure_without_one(code: Any) -> None:
    status = status_of_pod(pod(ended(code)), Stage.ALGORITHM)
    assert (status.outcome, status.exit_code) == (Outcome.FAILED, None)


def test_a_single_container_of_another_name_counts() -> None:
    status = {"containerStatuses": [{"name": "renamed", "state": {"terminated": {"exitCode": 0}}}]}
    assert status_of_pod(pod(status), Stage.ALGORITHM).outcome is Outcome.SUCCEEDED


def test_a_wait_without_a_time_of_scheduling_began_with_the_pod() -> None:
    status = {"containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "ErrImagePull"}}}]}
    found = status_of_pod(pod(status, creationTimestamp="2026-11-22T02:29:57Z"), Stage.ALGORITHM)
    assert found.since is not None
    assert found.since.isoformat() == "2026-11-22T02:29:57+00:00"


@pytest.mark.parametrize(("limit", "state"), [(0, State.ENDED), (3, State.RUNNING)])
def test_a_failed_pod_ends_its_job_only_if_the_job_does_not_retry(limit: int, state: State) -> None:
    job = {"metadata": {"uid": "u"}, "spec": {"backoffLimit": limit}, "status": {"active": 1}}
    assert status_of_job(job, [pod(ended(3))], Stage.ALGORITHM).state is state


def test_the_start_of_any_running_pod_is_the_start_of_its_job() -> None:
    job = {"metadata": {"uid": "u"}, "spec": {"backoffLimit": 0}, "status": {"active": 2}}
    started = {"running": {"startedAt": "2026-11-22T02:29:57Z"}}
    running = pod({"phase": "Running", "containerStatuses": [{"name": "main", "state": started}]})
    status = status_of_job(job, [pod({"phase": "Pending"}), running], Stage.ALGORITHM)
    assert status.since is not None


@pytest.mark.parametrize(
    ("body", "noteworthy"),
    [
        (pod(ended(0)), True),
        (pod({"phase": "Succeeded"}), True),
        (pod({"phase": "Failed"}), True),
        (pod({"phase": "Running"}), False),
        (pod({"containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "ErrImagePull"}}}]}), True),
        (pod({"containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "PodInitializing"}}}]}), False),
        (pod({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]}), True),
        (pod({"conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}), False),
        (
            pod(
                {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}]},
                deletionTimestamp="2026-11-22T02:29:57Z",
            ),
            False,
        ),
    ],
)
def test_a_pod_is_noteworthy_if_it_may_change_its_workflow(body: dict[str, Any], noteworthy: bool) -> None:
    assert pod_is_noteworthy(body) is noteworthy
