"""The review routes: who sees what is held, which decisions count, and what everybody else is told meanwhile."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from msgspec.structs import asdict
from support.api import ADMIN, API, OWNER, Api
from support.held_api import BEN, CHECKERS, KEYS, MANIFEST, as_operator, decide, decision, held, held_api, look, phase

from functions import ethereum
from functions.advance.sweep import sweep
from functions.api.auth.signature import checker_message
from functions.store.values import Query
from functions.trust.policy import Checker, Policies, WrittenPolicy
from functions.workflow.decision import Verdict
from functions.workflow.model import FetchedFile, Hold, Outcome, Phase, Stage, WorkflowId
from functions.workflow.observation import StageEnded
from functions.workflow.reported_facts import of_fetched


@pytest.fixture
def api() -> Api:
    return held_api()


def test_a_checker_sees_what_is_held_and_a_stranger_does_not(api: Api) -> None:
    job = held(api)
    assert [each["jobId"] for each in look(api, "/held").json["held"]] == [job]
    assert [file["path"] for file in look(api, f"/held/{job}").json["files"]] == ["outputs/a.csv", "outputs/b.svg"]
    assert look(api, "/held", KEYS[2]).json == {"held": [], "undelivered": []}
    assert look(api, f"/held/{job}", KEYS[2]).status_code == 404
    assert api.status.get(f"{API}/held").status_code == 400


def test_an_operator_sees_the_list_but_no_file(api: Api) -> None:
    job = held(api)
    assert [each["jobId"] for each in as_operator(api, "/held")["held"]] == [job]
    assert api.status.get(f"{API}/heldFile?jobId={job}&index=0", headers=ADMIN).status_code == 403


def test_a_checkers_request_is_good_once(api: Api) -> None:
    nonce = str(int(api.app.clock().timestamp() * 10**9))
    signature = ethereum.sign_text(KEYS[0], checker_message("GET", f"{API}/held", nonce))
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


def test_the_consumer_is_told_the_minute_of_an_end_and_never_one_before_the_submission(api: Api) -> None:
    job = held(api)
    api.app.clock.pass_(seconds=90.5)  # type: ignore[attr-defined]
    assert decide(api, decision(api, job, verdict="reject")).status_code == 200
    (status,) = api.jobs(job)
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    assert state.finished_at is not None
    exact, told = state.finished_at.timestamp(), float(status["dateFinished"])
    assert exact - 60 < told < exact
    assert told % 60 == 0 or status["dateFinished"] == status["dateCreated"]


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


@pytest.mark.parametrize("scope", ["", "everything", "data:", "data:" + "x" * 512, None])
def test_a_freeze_of_something_that_is_no_scope_is_refused(api: Api, scope: object) -> None:
    refused = api.submit.post(f"{API}/freeze", json={"scope": scope}, headers=ADMIN)
    assert (refused.status_code, "`scope`: expected" in refused.text) == (400, True)


def test_results_that_would_have_no_place_to_wait_are_refused_before_anything_is_recorded(api: Api) -> None:
    api.app.settings = dataclasses.replace(api.app.settings, quarantine_url="")
    refused = api.post(api.start_body())
    assert (refused.status_code, "configured wrongly" in refused.text) == (500, True)
    assert api.app.store.find(Query()) == []


def test_who_submitted_a_job_as_a_checker_of_one_data_set_sees_nothing_of_the_others(api: Api) -> None:
    both = (*CHECKERS, Checker(name="consumer", address=ethereum.address(KEYS[2])))
    api.app.policies = Policies((WrittenPolicy(id="strict", hold=Hold.ALWAYS, checkers=both),))
    owner = ethereum.address(KEYS[2])[2:]
    job = held(api, owner=owner)
    assert look(api, "/held", KEYS[2]).json == {"held": [], "undelivered": []}
    for path in (f"/held/{job}", f"/heldFile?jobId={job}&index=0", f"/crate?jobId={job}"):
        assert look(api, path, KEYS[2]).status_code == 404
    assert look(api, f"/held/{job}").status_code == 200


def test_a_checker_sees_what_ran_on_what_by_digest(api: Api) -> None:
    fetched = (
        FetchedFile("inputs/did/0", "https", 7, "ab" * 32),
        FetchedFile("transformations/algorithm", "rawcode", 3, "cd" * 32),
    )
    facts = of_fetched(map(asdict, fetched))
    job = WorkflowId(api.start()["jobId"])
    for stage, proven in (
        (Stage.CONFIGURE, facts),
        (Stage.ALGORITHM, {"image": f"sha256:{'ef' * 32}"}),
        (Stage.PUBLISH, {}),
    ):
        state = api.app.store.state(job)
        assert state is not None
        manifest = msgspec.structs.replace(MANIFEST, fetched=fetched)
        end = StageEnded(stage, 1, state.job_uid, Outcome.SUCCEEDED, 0, manifest=manifest, facts=proven)
        assert api.app.transitions.apply(job, end, "test") is Verdict.APPLIED
    assert look(api, f"/held/{job}").json["ran"] == {
        "algorithm": "cd" * 32,
        "images": [f"sha256:{'ef' * 32}"],
        "inputs": [{"path": "inputs/did/0", "size": 7, "sha256": "ab" * 32}],
    }
