"""Start, status, stop and delete, as the Provider asks for them."""

from __future__ import annotations

import copy
import json
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.api import API, DOCUMENT, OTHER_KEY, OWNER, Api, app
from werkzeug.test import TestResponse

from functions.cluster import stage_command
from functions.cluster.kubernetes import job_manifests
from functions.cluster.ports import ClusterUnavailable, JobRef, StageJob
from functions.store.ports import Store, StoreUnavailable
from functions.store.values import Query
from functions.workflow import stage_task
from functions.workflow.model import Outcome, Stage, WorkflowId
from functions.workflow.observation import StageEnded


def error(response: TestResponse) -> tuple[int, str]:
    assert response.json is not None
    return response.status_code, response.json["error"]


def altered(*path: str | int, value: Any = None, drop: bool = False) -> dict[str, Any]:
    """The sample document with one place changed."""
    document = copy.deepcopy(DOCUMENT)
    place: Any = document
    for key in path[:-1]:
        place = place[key]
    if drop:
        del place[path[-1]]
    else:
        place[path[-1]] = value
    return document


# --- start: checks and their order ------------------------------------------------------------


@pytest.mark.parametrize("body", [{}, []])
def test_an_empty_start_request_is_refused_as_empty(api: Api, body: Any) -> None:
    assert error(api.post(body)) == (400, "payload seems empty.")


def test_missing_parameters_of_a_start_are_named_in_operator_services_order(api: Api) -> None:
    body = api.start_body()
    for name in ("nonce", "environment", "providerSignature", "owner", "agreementId", "workflow"):
        del body[name]
        assert error(api.post(body)) == (400, f'"{name}" is required in the call to POST:/compute') or not body


def test_a_start_is_checked_in_operator_services_order(api: Api) -> None:
    """Each request has all faults that come later; the first one is told."""
    api.start(agreementId="0xused")
    wrong: dict[str, Any] = {
        "workflow": {},
        "agreementId": "0xused",
        "owner": OWNER,
        "environment": "nowhere",
        "providerSignature": "garbage",
        "nonce": api.nonce(),
    }
    assert error(api.post(wrong)) == (400, "`workflow` is required in the payload and must include workflow stages")
    wrong["workflow"] = {"chainId": 1}
    assert error(api.post(wrong)) == (400, "`agreementId` already in use for other job.")
    wrong["agreementId"] = "0xfree"
    assert error(api.post(wrong)) == (400, "Environment invalid or does not exist")
    wrong["environment"] = "ocean-compute"
    assert error(api.post(wrong)) == (400, "Failed to recover address")
    wrong |= api.signed(OWNER)
    assert error(api.post(wrong)) == (400, "Missing stages")


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"stages": []}, "Missing stages"),
        ("a text", "Missing stages"),
        ({"stages": {"0": 1}}, "Multiple stages are not supported yet"),
        ({"stages": DOCUMENT["stages"] * 2}, "Multiple stages are not supported yet"),
        ({"stages": ["a text"]}, "Missing algorithm in stage 0"),
        ({"stages": [{"algorithm": {}}]}, "Missing compute in stage 0"),
        ({"stages": [{"algorithm": {}, "compute": {}}]}, "Missing input in stage 0"),
        ({"stages": [{"algorithm": {}, "compute": {}, "input": []}]}, "Missing output in stage 0"),
    ],
)
def test_a_wrong_stage_is_refused_with_operator_services_message(api: Api, document: Any, text: str) -> None:
    assert error(api.post(api.start_body(workflow=document))) == (400, text)


@pytest.mark.parametrize(
    ("document", "place"),
    [
        (altered("stages", 0, "input", 0, "id", value="../../etc"), "$.stages[0].input[0].id"),
        (altered("stages", 0, "algorithm", "container", value={}), "$.stages[0].algorithm.container"),
        (altered("stages", 0, "compute", "maxtime", value="long"), "$.stages[0].compute.maxtime"),
        (altered("stages", 0, "algorithm", "rawcode", value=None), "$.stages[0].algorithm"),
    ],
)
def test_the_error_for_a_wrong_document_names_the_place_in_it(api: Api, document: Any, place: str) -> None:
    code, text = error(api.post(api.start_body(workflow=document)))
    assert (code, text.startswith(place)) == (400, True), text


def test_the_largest_document_that_is_accepted_fits_into_a_secret(api: Api) -> None:
    """Kubernetes counts the values of a Secret: 1 MiB at most."""

    def with_code(length: int) -> dict[str, Any]:
        return altered("stages", 0, "algorithm", "rawcode", value="x" * length)

    def started(agreement: str, length: int) -> StageJob:
        job = api.start(agreementId=agreement, workflow=with_code(length))["jobId"]
        made = api.cluster.request(JobRef(WorkflowId(job), Stage.CONFIGURE, 1, "ocean-compute"))
        assert made is not None
        return made

    longest = 100 + stage_task.MAX_SIZE - len(stage_command.task_json(replace(started("0x1", 100), results="")))
    values = job_manifests.secret(started("0x2", longest), "0123456789")["data"].values()
    assert stage_task.MAX_SIZE < sum(len(b64decode(value)) for value in values) <= 1 << 20

    code, text = error(api.post(api.start_body(agreementId="0x3", workflow=with_code(longest + 1))))
    assert (code, f"at most {stage_task.MAX_SIZE} bytes" in text) == (400, True)


@pytest.mark.parametrize("field", ["agreementId", "owner"])
@pytest.mark.parametrize("value", [None, "", "x" * 256, True, 1.5, [], {}])
def test_an_id_that_does_not_fit_into_its_column_is_refused(api: Api, field: str, value: Any) -> None:
    code, text = error(api.post(api.start_body(**{field: value})))
    assert (code, field in text) == (400, True)


@pytest.mark.parametrize("chain", ["x" * 256, 10**300, True, 1.5, [], {"a": 1}, "é" * 256])
def test_a_chain_id_that_does_not_fit_into_its_column_is_refused(store: Store, chain: Any) -> None:
    api = Api(app(store))
    code, text = error(api.post(api.start_body(chainId=chain)))
    assert (code, "chainId" in text) == (400, True)
    assert api.post(api.start_body(chainId=str(chain)[:255])).status_code == 200


@pytest.mark.parametrize(("chain", "accepted"), [(1, True), ("137", True), (8996, False), (None, False)])
def test_an_environment_for_some_chains_accepts_their_ids_as_numbers_and_as_strings(
    api: Api, chain: Any, accepted: bool
) -> None:
    answered = api.post(api.start_body(environment="mainnet", chainId=chain))
    assert (answered.status_code == 200) is accepted
    if not accepted:
        assert error(answered) == (400, "Environment invalid or does not exist")


def test_an_agreement_may_be_used_again_after_its_job_has_finished(api: Api) -> None:
    job = api.start()["jobId"]
    assert error(api.post(api.start_body())) == (400, "`agreementId` already in use for other job.")
    stop_and_end(api, job)
    assert api.start()["jobId"] != job


def test_spellings_of_one_transaction_id_start_one_job(store: Store) -> None:
    api = Api(app(store))
    transaction = "0x" + "aB" * 32
    job = api.start(agreementId=transaction)
    assert job["agreementId"] == transaction
    for other in (transaction.lower(), transaction.upper().replace("X", "x"), transaction[2:], "0X" + "ab" * 32):
        assert error(api.post(api.start_body(agreementId=other))) == (
            400,
            "`agreementId` already in use for other job.",
        )
        found = api.get("/compute", api.signed("None", agreementId=other))
        assert [each["jobId"] for each in json.loads(found.text)] == [job["jobId"]]


def test_spellings_of_an_address_are_one_owner(store: Store) -> None:
    api = Api(app(store))
    job = api.start()["jobId"]
    for owner in (OWNER.lower(), OWNER[2:], "0X" + OWNER[2:].upper()):
        (found,) = json.loads(api.get("/compute", api.signed(owner, owner=owner)).text)
        assert (found["jobId"], found["owner"]) == (job, OWNER), "shown as it was sent"
    asked = api.signed(OWNER.lower(), owner=OWNER.lower())
    assert json.loads(api.submit.put(f"{API}/compute", query_string=asked).text)[0]["stopreq"] == 1


def test_concurrent_submissions_of_one_agreement_start_one_job(store: Store) -> None:
    api = Api(app(store))
    bodies = [api.start_body() for _ in range(8)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(api.post, bodies))
    refused = [each for each in answers if each.status_code != 200]
    assert len(refused) == 7
    assert len(store.find(Query())) == 1
    texts = {error(each)[1] for each in refused if "nonce" not in error(each)[1]}
    assert texts <= {"`agreementId` already in use for other job."}


def test_a_job_is_accepted_while_the_cluster_is_unavailable(api: Api) -> None:
    api.cluster.fail_next("create", ClusterUnavailable("away"))
    job = api.start()["jobId"]
    assert [each["status"] for each in api.jobs(job)] == [20]


def test_an_unavailable_database_is_a_503_and_the_same_request_succeeds_later(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = api.start_body()

    def away(*_: Any) -> Any:
        raise StoreUnavailable("away")

    with monkeypatch.context() as broken:
        broken.setattr(api.app.store, "find", away)
        answered = api.post(body)
    assert (answered.status_code, answered.headers["Retry-After"]) == (503, "5")
    assert api.post(body).status_code == 200


# --- start: the first answer again -------------------------------------------------------------


def test_an_idempotency_key_gets_the_first_answer_again_even_by_the_very_same_request(store: Store) -> None:
    api = Api(app(store))
    body, headers = api.start_body(), {"Idempotency-Key": "k1"}
    first = api.post(body, headers)
    assert first.status_code == 200
    assert api.post(body, headers).text == first.text
    assert api.post(api.start_body(), headers).text == first.text
    stop_and_end(api, json.loads(first.text)[0]["jobId"])
    assert api.post(api.start_body(), headers).text == first.text
    assert len(store.find(Query())) == 1


def test_an_idempotency_key_of_another_request_is_refused(api: Api) -> None:
    headers = {"Idempotency-Key": "k1"}
    api.post(api.start_body(), headers)
    others: list[dict[str, Any]] = [
        {"agreementId": "0xother"},
        {"owner": "0xother"},
        {"chainId": 1},
        {"workflow": {"stages": [{}]}},
    ]
    for other in others:
        code, text = error(api.post(api.start_body(**other), headers))
        assert (code, "send another key" in text) == (422, True)


def test_an_idempotency_key_tells_numbers_and_booleans_apart(api: Api) -> None:
    headers = {"Idempotency-Key": "k1"}
    first = api.post(api.start_body(workflow=altered("stages", 0, "compute", "Instances", value=1)), headers)
    assert first.status_code == 200
    for other in (1.0, True, "1"):
        document = altered("stages", 0, "compute", "Instances", value=other)
        assert api.post(api.start_body(workflow=document), headers).status_code == 422, other
    reordered = {"stages": [dict(reversed(DOCUMENT["stages"][0].items()))]}
    reordered["stages"][0]["compute"] = {**DOCUMENT["stages"][0]["compute"], "Instances": 1}
    assert api.post(api.start_body(workflow=reordered), headers).text == first.text


def test_an_idempotency_key_with_a_document_of_any_depth_is_no_internal_error(api: Api) -> None:
    headers = {"Idempotency-Key": "k1", "Content-Type": "application/json"}
    api.post(api.start_body(), headers)
    for depth in range(900, 1100, 5):
        body = json.dumps(api.start_body(workflow="DEEP")).replace('"DEEP"', '{"a":' * depth + "1" + "}" * depth)
        answered = api.submit.post(f"{API}/compute", data=body, headers=headers)
        assert answered.status_code in (400, 422), depth


def test_an_idempotency_key_is_the_providers_own_and_needs_its_signature(api: Api) -> None:
    headers = {"Idempotency-Key": "k1"}
    api.post(api.start_body(), headers)
    api.key = OTHER_KEY
    assert api.post(api.start_body(), headers).status_code == 401


def test_concurrent_requests_with_one_idempotency_key_start_one_job_and_get_one_answer(store: Store) -> None:
    api = Api(app(store))
    bodies = [*(api.start_body() for _ in range(5)), *([api.start_body()] * 5)]
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda body: api.post(body, {"Idempotency-Key": "k"}), bodies))
    assert len(store.find(Query())) == 1
    assert len({each.text for each in answers if each.status_code == 200}) == 1


@pytest.mark.parametrize("key", ["", "x" * 256])
def test_an_unusable_idempotency_key_is_refused(api: Api, key: str) -> None:
    assert api.post(api.start_body(), {"Idempotency-Key": key}).status_code == 400


# --- status --------------------------------------------------------------------------------


def test_a_list_needs_at_least_one_filter(api: Api) -> None:
    asked = api.signed("None")
    assert error(api.get("/compute", asked)) == (400, "You have to specify one of agreementId, jobId or owner")
    assert error(api.get("/compute", {**asked, "owner": "x"}))[0] == 400, "one character does not count"


def test_a_job_is_listed_only_if_it_matches_all_filters(api: Api) -> None:
    one = api.start(agreementId="0xone")
    two = api.start(agreementId="0xtwo", chainId=5, owner="0xother")

    def found(**filters: Any) -> list[str]:
        message = f"{filters.get('owner')}{filters.get('jobId', '')}"
        answered = api.get("/compute", api.signed(message, **filters))
        return [job["jobId"] for job in json.loads(answered.text)]

    assert found(owner=OWNER) == found(agreementId="0xone") == found(jobId=one["jobId"]) == [one["jobId"]]
    assert found(owner=OWNER, jobId=two["jobId"]) == []
    assert found(owner="0xother", chainId="5") == found(owner="0xother", chain_id=5) == [two["jobId"]]
    assert found(owner="0xother", chainId="6") == []
    assert found(jobId="0xunknown") == []


def test_lists_are_newest_first_and_come_in_pages(api: Api) -> None:
    jobs = []
    for number in range(5):
        jobs.append(api.start(agreementId=f"0xagreement{number}")["jobId"])
        api.app.clock.pass_(seconds=1)  # type: ignore[attr-defined]

    def page(**asked: Any) -> list[str]:
        answered = api.get("/compute", api.signed(OWNER, owner=OWNER, **asked))
        return [job["jobId"] for job in json.loads(answered.text)]

    assert page() == jobs[::-1]
    assert page(limit=2) == jobs[:2:-1]
    assert page(limit=2, offset=3) == jobs[1::-1]
    assert page(limit=10**9) == jobs[::-1]
    for wrong in ("-1", "x", "", str(10**10), "²"):
        assert error(api.get("/compute", api.signed(OWNER, owner=OWNER, limit=wrong)))[0] == 400


def test_only_a_failed_job_has_a_reason_and_termination_details(api: Api) -> None:
    job = api.start()["jobId"]
    assert "reason" not in api.jobs(job)[0]
    api.end_stage(job, Stage.CONFIGURE)
    seen = StageEnded(Stage.ALGORITHM, 1, None, Outcome.FAILED, 137, "OOMKilled", oom_killed=True)
    api.app.transitions.apply(WorkflowId(job), seen, "test")
    api.end_stage(job, Stage.PUBLISH)
    found = api.jobs(job)[0]
    assert (found["status"], found["statusText"], found["reason"]) == (41, "Algorithm failed", "OOMKilled")
    assert found["terminationDetails"] == {"OOMKilled": True, "exitCode": 137}
    assert float(found["dateFinished"]) > 0


def test_a_missing_owner_is_signed_as_the_text_none(api: Api) -> None:
    job = api.start()["jobId"]
    assert api.get("/compute", api.signed(f"None{job}", jobId=job)).status_code == 200
    assert api.get("/compute", api.signed(job, jobId=job)).status_code == 401


# --- stop and delete ------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_missing_parameters_of_a_stop_and_a_delete_are_named(api: Api, method: str) -> None:
    asked = api.signed(OWNER, owner=OWNER)
    for name in ("nonce", "providerSignature", "owner"):
        del asked[name]
        answered = api.submit.open(f"{API}/compute", method=method, query_string=asked)
        expected = f'"{name}" is required in the call to {method}:/compute' if asked else "payload seems empty."
        assert error(answered) == (400, expected)


def stop(api: Api, method: str = "PUT", **filters: Any) -> TestResponse:
    message = f"{OWNER}{filters.get('jobId', '')}"
    return api.submit.open(f"{API}/compute", method=method, query_string=api.signed(message, owner=OWNER, **filters))


def test_a_stop_without_a_job_id_stops_all_jobs_of_the_owner(api: Api) -> None:
    mine = {api.start(agreementId=f"0xmine{n}")["jobId"] for n in range(6)}
    other = api.start(agreementId="0xother", owner="0xother")["jobId"]
    answered = json.loads(stop(api).text)
    assert {job["jobId"]: job["stopreq"] for job in answered} == dict.fromkeys(mine, 1)
    record = api.app.store.get(WorkflowId(other))
    assert record is not None
    assert record.workflow.stop == 0


def test_an_unknown_job_is_answered_with_an_empty_list(api: Api) -> None:
    assert stop(api, jobId="0xunknown").text == "[]"
    assert stop(api, "DELETE", jobId="0xunknown").text == "[]"


def test_a_stop_needs_an_owner_of_two_characters_or_more(api: Api) -> None:
    api.start()
    answered = api.submit.put(f"{API}/compute", query_string=api.signed("x", owner="x"))
    assert answered.status_code == 400
    assert not any(record.workflow.stop for record in api.app.store.find(Query()))


def test_a_forged_stop_or_delete_changes_nothing(api: Api) -> None:
    job = api.start()["jobId"]
    api.key = OTHER_KEY
    assert stop(api, jobId=job).status_code == stop(api, "DELETE", jobId=job).status_code == 401
    record = api.app.store.get(WorkflowId(job))
    assert record is not None
    assert (record.workflow.stop, record.workflow.removed) == (0, False)


def test_a_finished_job_is_not_stopped(api: Api) -> None:
    job = api.finished()
    assert json.loads(stop(api, jobId=job).text)[0]["stopreq"] == 0


def test_a_delete_without_a_job_or_an_agreement_is_refused(api: Api) -> None:
    api.finished()
    assert stop(api, "DELETE").status_code == 400


def test_a_deleted_job_is_still_listed_but_has_no_results(api: Api) -> None:
    job = api.finished()
    found = json.loads(stop(api, "DELETE", jobId=job).text)
    assert [(each["jobId"], each["removed"], each["results"]) for each in found] == [(job, 1, "")]
    assert api.jobs(job) == found
    again = json.loads(stop(api, "DELETE", jobId=job).text)
    assert again == found


def test_deleting_a_running_job_stops_it(api: Api) -> None:
    job = api.start()["jobId"]
    found = json.loads(stop(api, "DELETE", jobId=job).text)[0]
    assert (found["status"], found["stopreq"], found["removed"]) == (70, 1, 1)
    assert api.cluster.present() == []


def test_a_stop_is_accepted_while_the_cluster_is_unavailable(api: Api) -> None:
    job = api.start()["jobId"]
    api.cluster.fail_next("delete", ClusterUnavailable("away"))
    assert json.loads(stop(api, jobId=job).text)[0]["stopreq"] == 1


JSONISH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_signed_body_causes_an_internal_error(data: st.DataObject) -> None:
    api = Api(app())
    body = api.start_body()
    stage = copy.deepcopy(DOCUMENT["stages"][0])
    name = data.draw(st.sampled_from(sorted(stage)))
    stage[name] = data.draw(JSONISH)
    changed = data.draw(st.sampled_from([("workflow", {"stages": [stage]}), ("chainId", data.draw(JSONISH))]))
    answered = api.post(body | dict([changed]))
    assert answered.status_code in (200, 400), answered.text


def stop_and_end(api: Api, job: str) -> None:
    stop(api, jobId=job)
    api.end_stage(job, Stage.PUBLISH)
    assert api.jobs(job)[0]["dateFinished"] is not None
