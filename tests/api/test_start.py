"""Starting a job: what is checked, in which order, and what is started."""

from __future__ import annotations

import copy
import json
from base64 import b64decode
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.api import API, DOCUMENT, OWNER, Api, altered, app, error

from functions.cluster import stage_command
from functions.cluster.kubernetes import job_manifests
from functions.cluster.ports import ClusterUnavailable, JobRef, StageJob
from functions.store.ports import Store, StoreUnavailable
from functions.store.values import Query
from functions.workflow import stage_task
from functions.workflow.model import Stage, WorkflowId


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
    api.stop_and_end(job)
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
