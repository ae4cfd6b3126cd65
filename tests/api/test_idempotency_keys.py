"""The header Idempotency-Key: a repeated request gets the first answer again."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.api import API, DOCUMENT, OTHER_KEY, Api, altered, app, error

from functions.store.ports import Store
from functions.store.values import Query


def test_an_idempotency_key_gets_the_first_answer_again_even_by_the_very_same_request(store: Store) -> None:
    api = Api(app(store))
    body, headers = api.start_body(), {"Idempotency-Key": "k1"}
    first = api.post(body, headers)
    assert first.status_code == 200
    assert api.post(body, headers).text == first.text
    assert api.post(api.start_body(), headers).text == first.text
    api.stop_and_end(json.loads(first.text)[0]["jobId"])
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
