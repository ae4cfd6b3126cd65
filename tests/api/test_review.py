"""The review room's routes: who sees what is held, which decisions count, and what everybody else is told meanwhile."""

from __future__ import annotations

import copy
import time
from base64 import b64decode
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from support.api import ADMIN, API, DOCUMENT, OWNER, Api, app
from support.world import MemoryStorage

from functions import ethereum
from functions.advance.sweep import sweep
from functions.api.auth.reader import text_to_sign
from functions.cluster import stage_command
from functions.cluster.kubernetes import job_manifests
from functions.cluster.ports import JobRef, StageJob
from functions.results.age import new_identity
from functions.results.layout import encode as encode_manifest
from functions.trust.canonical import encode
from functions.trust.policy import Checker, Policies, WrittenPolicy
from functions.workflow import stage_task
from functions.workflow.decision import Verdict
from functions.workflow.model import Hold, Manifest, Outcome, Phase, ResultFile, Stage, WorkflowId
from functions.workflow.observation import StageEnded

KEYS = ["0x" + digits * 32 for digits in ("44", "55", "66")]
ANNA, BEN, STRANGER = (ethereum.address(key).lower() for key in KEYS)
CHECKERS = (Checker(name="anna", address=ANNA), Checker(name="ben", address=BEN))
POLICY = WrittenPolicy(id="strict", hold=Hold.ALWAYS, checkers=CHECKERS, hold_seconds=86_400)
FILES = tuple(
    ResultFile(f"outputs/{name}.age", 300, "output", f"memory:{name}", "aa" * 32, None, digit * 64, 100)
    for name, digit in (("a.csv", "b"), ("b.svg", "c"))
)


@pytest.fixture
def api() -> Api:
    made = Api(app())
    made.app.policies = Policies((POLICY,))
    environments = made.app.environments.values()
    made.app.environments = {each.id: replace_policy(each) for each in environments}
    made.app.quarantine = MemoryStorage()
    made.app.settings = replace(made.app.settings, quarantine_url="file:///quarantine", results_url="file:///results")
    return made


def replace_policy(environment: Any) -> Any:
    return msgspec.structs.replace(environment, policy="strict")


def held(api: Api) -> str:
    """A job whose results are held."""
    job = WorkflowId(api.start()["jobId"])
    for stage in (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH):
        state = api.app.store.state(job)
        assert state is not None
        end = StageEnded(stage, 1, state.job_uid, Outcome.SUCCEEDED, 0, manifest=Manifest(FILES))
        assert api.app.transitions.apply(job, end, "test") is Verdict.APPLIED
    assert phase(api, job) is Phase.HELD
    return job


def phase(api: Api, job: str) -> Phase:
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    return state.phase


def look(api: Api, path: str, key: str = KEYS[0]) -> Any:
    nonce = str(int(api.app.clock().timestamp() * 10**9) + time.time_ns() % 10**6)
    signature = ethereum.sign_text(key, text_to_sign("GET", f"{API}{path}", nonce))
    return api.status.get(f"{API}{path}", headers={"Authorization": f"Checker {nonce}:{signature}"})


def as_operator(api: Api, path: str) -> Any:
    return api.status.get(f"{API}{path}", headers=ADMIN).json


def decision(api: Api, job: str, key: str = KEYS[0], verdict: str = "release", **changes: Any) -> dict[str, Any]:
    shown = look(api, f"/held/{job}").json
    signed = {
        "v": 1,
        "job": job,
        "head": shown["head"],
        "verdict": verdict,
        "files": [{"path": f["path"], "sha256": f["sha256"], "verdict": "release"} for f in shown["files"]],
        "reason": "",
        "by": ethereum.address(key).lower(),
        "at": "2026-11-27T02:40:00.000000Z",
        "nonce": "1",
        **changes,
    }
    return {"decision": signed, "signature": ethereum.sign_text(key, encode(signed).decode())}


def decide(api: Api, body: dict[str, Any], **headers: str) -> Any:
    return api.submit.post(f"{API}/decisions", json=body, headers=headers)


def test_a_checker_sees_what_is_held_and_a_stranger_does_not(api: Api) -> None:
    job = held(api)
    assert [each["jobId"] for each in look(api, "/held").json] == [job]
    assert [file["path"] for file in look(api, f"/held/{job}").json["files"]] == ["outputs/a.csv", "outputs/b.svg"]
    assert look(api, "/held", KEYS[2]).json == []
    assert look(api, f"/held/{job}", KEYS[2]).status_code == 404
    assert api.status.get(f"{API}/held").status_code == 400


def test_an_operator_sees_the_list_but_no_file(api: Api) -> None:
    job = held(api)
    assert [each["jobId"] for each in as_operator(api, "/held")] == [job]
    assert api.status.get(f"{API}/heldFile?jobId={job}&index=0", headers=ADMIN).status_code == 403


def test_a_checkers_request_is_good_once(api: Api) -> None:
    nonce = str(int(api.app.clock().timestamp() * 10**9))
    signature = ethereum.sign_text(KEYS[0], text_to_sign("GET", f"{API}/held", nonce))
    header = {"Authorization": f"Checker {nonce}:{signature}"}
    assert api.status.get(f"{API}/held", headers=header).status_code == 200
    assert api.status.get(f"{API}/held", headers=header).status_code == 401


def test_the_consumer_learns_nothing_while_results_are_held(api: Api) -> None:
    job = held(api)
    (status,) = api.jobs(job)
    assert (status["status"], status["dateFinished"], status["results"]) == (50, None, "")
    assert "a.csv" not in str(status)
    result = api.get("/getResult", api.signed(f"{OWNER}{job}", owner=OWNER, jobId=job, index=0))
    assert result.status_code == 404


def test_a_checkers_decision_releases(api: Api) -> None:
    job = held(api)
    answered = decide(api, decision(api, job))
    assert answered.status_code == 200, answered.text
    assert answered.json["state"] == "released"
    assert phase(api, job) is Phase.RELEASE


def test_one_rejection_ends_it_and_deletes_the_key(api: Api) -> None:
    job = held(api)
    assert decide(api, decision(api, job, verdict="reject")).json["state"] == "rejected"
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    assert (state.phase, state.status, state.ending and state.ending.reason) == (Phase.FINISHED, 51, "Rejected")
    kept = api.app.store.held(WorkflowId(job))
    assert kept is not None
    assert kept.key.identity == ""


@pytest.mark.parametrize(
    ("change", "status"),
    [
        (lambda api, job: decision(api, job, KEYS[2]), 403),  # not a checker
        (lambda api, job: {**decision(api, job), "signature": "0x00"}, 403),
        (lambda api, job: decision(api, job, head="00" * 32), 403),  # another state
        (lambda api, job: {"decision": {**decision(api, job)["decision"], "job": "unknown"}, "signature": ""}, 404),
        (lambda api, job: decision(api, job, files=[]), 403),  # nothing may stay undecided
        (lambda api, job: decision(api, job, by=BEN), 403),  # signed by another key
        (lambda api, job: {"decision": 1}, 400),
        (lambda api, job: {"jobId": job, "verdict": "reject"}, 400),  # without Admin header
    ],
)
def test_a_decision_that_does_not_count_changes_nothing(
    api: Api, change: Callable[[Api, str], dict[str, Any]], status: int
) -> None:
    job = held(api)
    assert decide(api, change(api, job)).status_code == status
    assert phase(api, job) is Phase.HELD


def test_the_admin_value_may_reject_and_never_release(api: Api) -> None:
    job = held(api)
    assert decide(api, {"jobId": job, "verdict": "release"}, **ADMIN).status_code == 403
    assert api.submit.post(f"{API}/release", json={"jobId": job}, headers=ADMIN).status_code == 409
    assert decide(api, {"jobId": job, "verdict": "reject"}, **ADMIN).status_code == 200
    assert phase(api, job) is Phase.FINISHED


def test_a_second_decision_of_one_person_is_refused(api: Api) -> None:
    api.app.policies = Policies((WrittenPolicy(id="strict", hold=Hold.ALWAYS, checkers=CHECKERS, approvals=2),))
    job = held(api)
    first = decision(api, job)
    assert decide(api, first).json["state"] == "pending"
    assert decide(api, first).status_code == 403
    assert decide(api, decision(api, job, KEYS[1])).json["state"] == "released"


def test_results_that_nobody_decides_about_expire(api: Api) -> None:
    job = held(api)
    api.app.clock.pass_(seconds=86_401)  # type: ignore[attr-defined]
    sweep(api.app)
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    assert (state.status, state.ending and state.ending.reason) == (51, "HoldExpired")


def test_a_freeze_holds_back_the_release_until_it_is_lifted(api: Api) -> None:
    job = held(api)
    scope = {"scope": "environment:ocean-compute", "reason": "audit"}
    assert api.submit.post(f"{API}/freeze", json=scope, headers=ADMIN).status_code == 200
    assert as_operator(api, "/freeze")[0]["reason"] == "audit"
    decide(api, decision(api, job))
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    assert (state.phase, state.job_uid) == (Phase.RELEASE, None)
    assert api.submit.delete(f"{API}/freeze", json=scope, headers=ADMIN).status_code == 200
    assert api.submit.delete(f"{API}/freeze", json=scope, headers=ADMIN).status_code == 404
    api.app.clock.pass_(seconds=120)  # type: ignore[attr-defined]
    sweep(api.app)
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    assert state.job_uid is not None


def test_a_policy_refuses_an_algorithm_at_the_door(api: Api) -> None:
    api.app.policies = Policies((WrittenPolicy(id="strict", algorithms=()),))
    refused = api.post(api.start_body())
    assert refused.status_code == 400
    assert "$.stages[0].algorithm: the policy strict does not list this algorithm" in refused.text


def test_who_submitted_a_job_cannot_decide_about_it(api: Api) -> None:
    provider = ethereum.address(api.key).lower()
    both = (*CHECKERS, Checker(name="provider", address=provider))
    api.app.policies = Policies((WrittenPolicy(id="strict", hold=Hold.ALWAYS, checkers=both),))
    job = held(api)
    refused = decide(api, decision(api, job, api.key))
    assert (refused.status_code, "submitted this job" in refused.text) == (403, True)


def test_the_largest_held_document_leaves_room_for_the_longest_list_of_files(api: Api) -> None:
    """Release gets both in one Secret, which holds 1 MiB."""

    def with_code(length: int) -> dict[str, Any]:
        document = copy.deepcopy(DOCUMENT)
        document["stages"][0]["algorithm"]["rawcode"] = "x" * length
        return document

    def started(agreement: str, length: int) -> StageJob:
        job = api.start(agreementId=agreement, workflow=with_code(length))["jobId"]
        made = api.cluster.request(JobRef(WorkflowId(job), Stage.CONFIGURE, 1, "ocean-compute"))
        assert made is not None
        return made

    most = stage_task.MAX_SIZE - stage_task.MAX_HELD_LIST
    bare = replace(started("0x1", 100), results="", held=None)
    longest = 100 + most - len(stage_command.task_json(bare))
    largest = started("0x2", longest)
    assert largest.held is not None
    one = len(msgspec.json.encode(FILES[0])) + len(",")
    files = FILES[:1] * (stage_task.MAX_HELD_LIST // one)
    assert stage_task.MAX_HELD_LIST - 2 * one < len(encode_manifest(Manifest(files))) <= stage_task.MAX_HELD_LIST
    identity, _ = new_identity()
    released = replace(largest, held=msgspec.structs.replace(largest.held, identity=identity, files=files))
    values = job_manifests.secret(released, "0123456789")["data"].values()
    assert stage_task.MAX_SIZE - 2 * one < sum(len(b64decode(value)) for value in values) <= 1 << 20

    refused = api.post(api.start_body(agreementId="0x3", workflow=with_code(longest + 1)))
    assert (refused.status_code, f"at most {most} bytes" in refused.text) == (400, True)


def fail_release(api: Api, job: str, outcome: Outcome = Outcome.FAILED) -> None:
    """The attempt of release that runs, or waits for its pause, fails in a way that may pass."""
    api.app.clock.pass_(seconds=1000)  # type: ignore[attr-defined]
    api.app.transitions.carry_out(WorkflowId(job), "test")
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    end = StageEnded(Stage.RELEASE, state.attempt, state.job_uid, outcome, 62, "ResultUploadFailed")
    assert api.app.transitions.apply(WorkflowId(job), end, "test") is Verdict.APPLIED


def release_attempts(api: Api, job: str) -> list[tuple[int, Outcome | None]]:
    attempts = [each for each in api.app.store.attempts(WorkflowId(job)) if each.stage is Stage.RELEASE]
    assert len({each.job_uid for each in attempts}) == len(attempts)
    return [(each.attempt, each.end.outcome if each.end else None) for each in attempts]


def test_the_attempts_of_a_second_release_follow_those_of_the_first(api: Api) -> None:
    job = held(api)
    decide(api, decision(api, job))
    for _ in range(5):
        assert phase(api, job) is Phase.RELEASE
        fail_release(api, job)
    assert phase(api, job) is Phase.HELD
    assert api.submit.post(f"{API}/release", json={"jobId": job}, headers=ADMIN).status_code == 200
    first = [(attempt, Outcome.FAILED) for attempt in range(1, 6)]
    assert release_attempts(api, job) == [*first, (6, None)]
    fail_release(api, job, Outcome.TIMED_OUT)
    assert phase(api, job) is Phase.HELD
    assert api.submit.post(f"{API}/release", json={"jobId": job}, headers=ADMIN).status_code == 200
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    assert state.job_uid is not None, "the first attempt of a release does not wait"
    assert release_attempts(api, job) == [*first, (6, Outcome.TIMED_OUT), (7, None)]
    late = StageEnded(Stage.RELEASE, 6, None, Outcome.SUCCEEDED, 0, manifest=Manifest())
    assert api.app.transitions.apply(WorkflowId(job), late, "test") is Verdict.DUPLICATE
    for attempt in range(7, 11):
        assert (phase(api, job), release_attempts(api, job)[-1][0]) == (Phase.RELEASE, attempt)
        fail_release(api, job)
    assert phase(api, job) is Phase.HELD


@pytest.mark.parametrize("tried", [False, True])
def test_what_a_rejected_job_has_stored_expires(api: Api, tried: bool) -> None:
    """Its admin logs, and what a release that failed has copied before the rejection."""
    (environment,) = (each for each in api.app.environments.values() if each.id == "ocean-compute")
    api.app.environments = {environment.id: msgspec.structs.replace(environment, storage_expiry=3600)}
    job = held(api)
    if tried:
        decide(api, decision(api, job))
        for _ in range(5):
            fail_release(api, job)
    assert decide(api, {"jobId": job, "verdict": "reject"}, **ADMIN).status_code == 200
    api.app.clock.pass_(seconds=3601)  # type: ignore[attr-defined]
    sweep(api.app)
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    assert (state.phase, state.expired) == (Phase.FINISHED, True)
