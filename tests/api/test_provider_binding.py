"""Jobs are bound to the provider that submitted them, where signatures are required."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.api import API, OTHER_KEY, OWNER, Api, app, settings
from werkzeug.test import TestResponse

from functions import ethereum
from functions.workflow.model import Manifest, ResultFile, Stop, WorkflowId

OTHER = ethereum.address(OTHER_KEY)


@pytest.fixture
def both(tmp_path: Path) -> Api:
    """Two providers are allowed; the first one signs until a test changes `key`."""
    allowed = (*settings().allowed_providers, OTHER)
    return Api(app(results_url=f"file://{tmp_path}", allowed_providers=allowed))


@pytest.fixture
def anybody(tmp_path: Path) -> Api:
    """No signature is required, as on a laptop."""
    return Api(app(results_url=f"file://{tmp_path}", allowed_providers=(), signature_required=False))


def published(api: Api) -> Manifest:
    url = api.app.storage.put("j/1/outputs/a.csv", [b"a,b\n"], 4, "text/csv")
    return Manifest((ResultFile("outputs/a.csv", 4, "output", url),))


def sent(api: Api, method: str, job: str, **filters: Any) -> TestResponse:
    asked = api.signed(f"{OWNER}{job}", owner=OWNER, **({"jobId": job} if job else {}), **filters)
    client = api.status if method == "GET" else api.submit
    return client.open(f"{API}/compute", method=method, query_string=asked)


def result(api: Api, job: str) -> TestResponse:
    return api.get("/getResult", api.signed(f"{OWNER}{job}", owner=OWNER, jobId=job, index=0))


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("filters", [{"jobId": True}, {"agreementId": "0xagreement"}], ids=["job", "agreement"])
def test_another_provider_gets_the_answer_for_an_unknown_job(both: Api, method: str, filters: dict[str, Any]) -> None:
    job = both.start()["jobId"]
    both.key = OTHER_KEY
    given = {} if filters.get("jobId") else filters
    answered = sent(both, method, job if not given else "", **given)
    assert (answered.status_code, answered.json) == (200, [])
    record = both.app.store.get(WorkflowId(job))
    assert record is not None
    assert (record.workflow.stop, record.workflow.removed) == (Stop.NONE, False)


def test_an_owner_sees_and_stops_through_a_provider_only_what_it_submitted(both: Api) -> None:
    first = both.start(agreementId="0x1")["jobId"]
    both.key = OTHER_KEY
    second = both.start(agreementId="0x2")["jobId"]
    assert [job["jobId"] for job in json.loads(sent(both, "GET", "").text)] == [second]
    assert [job["jobId"] for job in json.loads(sent(both, "PUT", "").text)] == [second]
    record = both.app.store.get(WorkflowId(first))
    assert record is not None
    assert record.workflow.stop is Stop.NONE


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_the_provider_that_submitted_a_job_finds_it(both: Api, method: str) -> None:
    both.key = OTHER_KEY
    job = both.start()["jobId"]
    assert [each["jobId"] for each in json.loads(sent(both, method, job).text)] == [job]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_where_no_signature_is_required_every_signer_finds_every_job(anybody: Api, method: str) -> None:
    job = anybody.finished(published(anybody))
    anybody.key = OTHER_KEY
    assert [each["jobId"] for each in json.loads(sent(anybody, method, job).text)] == [job]


def test_where_no_signature_is_required_every_signer_gets_the_results(anybody: Api) -> None:
    job = anybody.finished(published(anybody))
    anybody.key = OTHER_KEY
    assert (result(anybody, job).status_code, result(anybody, job).text) == (200, "a,b\n")


def test_where_no_signature_is_required_a_signature_of_anything_gets_the_results(anybody: Api) -> None:
    """A newcomer's curl, with a signature copied from the documentation."""
    job = anybody.finished(published(anybody))
    copied = ethereum.sign(OTHER_KEY, "anything")
    asked = {"owner": OWNER, "jobId": job, "index": 0, "nonce": anybody.nonce(), "providerSignature": copied}
    assert anybody.get("/getResult", asked).text == "a,b\n"
