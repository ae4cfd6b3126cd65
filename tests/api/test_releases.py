"""Releases that fail and come again, and what bounds them."""

from __future__ import annotations

import copy
from base64 import b64decode
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from support.api import ADMIN, API, DOCUMENT, OWNER, Api
from support.held_api import FILES, decide, decision, fail_release, held, held_api, phase, release_attempts
from support.world import MemoryStorage

from functions.advance.sweep import sweep
from functions.cluster import stage_command
from functions.cluster.kubernetes import job_manifests
from functions.cluster.ports import JobRef, StageJob
from functions.results.age import new_identity
from functions.results.layout import encode as encode_manifest
from functions.trust.policy import Policies, Runs, WrittenPolicy
from functions.workflow import stage_task
from functions.workflow.decision import Verdict
from functions.workflow.model import Manifest, Outcome, Phase, Stage, WorkflowId
from functions.workflow.observation import StageEnded


@pytest.fixture
def api() -> Api:
    return held_api()


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
    files = FILES[:1] * ((stage_task.MAX_HELD_LIST - len(encode_manifest(Manifest()))) // one)
    assert stage_task.MAX_HELD_LIST - 2 * one < len(encode_manifest(Manifest(files))) <= stage_task.MAX_HELD_LIST
    identity, _ = new_identity()
    released = replace(largest, held=msgspec.structs.replace(largest.held, identity=identity, files=files))
    values = job_manifests.secret(released, "0123456789")["data"].values()
    assert stage_task.MAX_SIZE - 2 * one < sum(len(b64decode(value)) for value in values) <= 1 << 20

    refused = api.post(api.start_body(agreementId="0x3", workflow=with_code(longest + 1)))
    assert (refused.status_code, f"at most {most} bytes" in refused.text) == (400, True)


def test_a_release_that_still_runs_cannot_be_tried_again_and_the_answer_says_so(api: Api) -> None:
    job = held(api)
    decide(api, decision(api, job))
    refused = api.submit.post(f"{API}/release", json={"jobId": job}, headers=ADMIN)
    assert refused.status_code == 409
    assert refused.json == {"error": f"job {job} is not in a state for this: its phase is release"}


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


def test_revoked_results_are_gone_for_everybody(api: Api) -> None:
    def read(job: str) -> int:
        return api.get("/getResult", api.signed(f"{OWNER}{job}", owner=OWNER, jobId=job, index=0)).status_code

    def revoke(job: str, **headers: str) -> int:
        return api.submit.post(f"{API}/revoke", json={"jobId": job}, headers=headers).status_code

    api.app.storage = MemoryStorage()
    job = held(api)
    assert revoke(job, **ADMIN) == 409, "nothing has left yet"
    decide(api, decision(api, job))
    state = api.app.store.state(WorkflowId(job))
    assert state is not None
    left = replace(FILES[0], path="outputs/a.csv", url="memory:released")
    api.app.storage.put_manifest(WorkflowId(job), 1, Manifest((left,)))
    end = StageEnded(Stage.RELEASE, 1, state.job_uid, Outcome.SUCCEEDED, 0, manifest=Manifest((left,)))
    assert api.app.transitions.apply(WorkflowId(job), end, "test") is Verdict.APPLIED
    assert [each["filename"] for each in api.jobs(job)[0]["results"]] == ["a.csv"]
    assert revoke(job) == 400, "without the operator's header"
    for _ in range(2):
        assert revoke(job, **ADMIN) == 200
    assert (read(job), api.jobs(job)[0]["results"], api.jobs(job)[0]["removed"]) == (410, "", 1)
    assert api.app.storage.manifest(WorkflowId(job), 1) is None
    assert revoke("unknown", **ADMIN) == 404


def test_a_budget_counts_an_owner_in_every_spelling(api: Api) -> None:
    written = WrittenPolicy(id="strict", runs=Runs(per_owner=2, days=30))
    api.app.policies = Policies((written,))
    for n, owner in enumerate((OWNER, OWNER.lower())):
        assert api.post(api.start_body(agreementId=f"0x{n}", owner=owner)).status_code == 200
    for owner in (OWNER, OWNER[2:], OWNER.upper().replace("0X", "0x")):
        refused = api.post(api.start_body(agreementId="0x9", owner=owner))
        assert refused.status_code not in (200, 500)
        assert "are used up" in refused.text
