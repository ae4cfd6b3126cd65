"""Each rule by which a Job and its Pods tell the state of a stage, on its own."""

from __future__ import annotations

from typing import Any

import pytest

from functions.cluster.kubernetes.job_status import (
    job_has_ended,
    pod_is_noteworthy,
    status_of_job,
    status_of_pod,
)
from functions.cluster.ports import JobStatus, State
from functions.workflow.model import JobUid, Outcome, Stage


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


def job(*conditions: str, **status: Any) -> dict[str, Any]:
    listed = [{"type": kind, "status": "True"} for kind in conditions]
    return {"metadata": {"uid": "u"}, "spec": {"backoffLimit": 0}, "status": {"conditions": listed, **status}}


@pytest.mark.parametrize(
    ("body", "has_ended"),
    [
        (job("Complete"), True),
        (job("Failed"), True),
        (job("FailureTarget", terminating=0), True),
        (job("FailureTarget", terminating=1), False),
        (job("FailureTarget", active=1, terminating=0), False),
        (job("FailureTarget"), False),
        (job(terminating=0), False),
    ],
)
def test_a_job_has_ended_once_it_says_so_and_its_last_pod_is_gone(body: dict[str, Any], has_ended: bool) -> None:
    assert job_has_ended(body) is has_ended


@pytest.mark.parametrize(("phase", "state"), [("Running", State.RUNNING), ("Failed", State.ENDED)])
def test_a_job_that_is_going_to_fail_runs_until_its_last_pod_has_ended(phase: str, state: State) -> None:
    assert status_of_job(job("FailureTarget", terminating=1), [pod({"phase": phase})], Stage.ALGORITHM).state is state


@pytest.mark.parametrize("retries", [0, 3])
def test_a_stuck_pod_is_reported_whether_or_not_its_job_retries(retries: int) -> None:
    waiting = {"containerStatuses": [{"name": "main", "state": {"waiting": {"reason": "ErrImagePull"}}}]}
    body = {"metadata": {"uid": "u"}, "spec": {"backoffLimit": retries}, "status": {"active": 1}}
    assert status_of_job(body, [pod(waiting)], Stage.ALGORITHM).state is State.STUCK


def test_a_pod_that_is_being_deleted_tells_nothing_by_its_exit_code() -> None:
    body = pod(ended(137, reason="Error"), deletionTimestamp="2026-11-22T02:29:57Z")
    assert status_of_pod(body, Stage.ALGORITHM).state is State.RUNNING


@pytest.mark.parametrize(
    "reason",
    [
        *("ErrImagePull", "ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName"),
        *("CreateContainerConfigError", "CreateContainerError", "RunContainerError"),
    ],
)
def test_each_reason_that_time_does_not_cure_makes_a_pod_stuck(reason: str) -> None:
    body = pod({"containerStatuses": [{"name": "main", "state": {"waiting": {"reason": reason}}}]})
    assert (status_of_pod(body, Stage.ALGORITHM).reason, pod_is_noteworthy(body)) == (reason, True)


def test_the_reason_of_our_own_program_counts_where_the_kubelet_gives_none() -> None:
    assert status_of_pod(pod(ended(31, message="DataUnavailable: x")), Stage.CONFIGURE).reason == "DataUnavailable"
