"""Stop and delete, as the Provider asks for them."""

from __future__ import annotations

import json

import pytest
from support.api import API, OTHER_KEY, OWNER, Api, error

from functions.cluster.ports import ClusterUnavailable
from functions.store.values import Query
from functions.workflow.model import WorkflowId


@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_missing_parameters_of_a_stop_and_a_delete_are_named(api: Api, method: str) -> None:
    asked = api.signed(OWNER, owner=OWNER)
    for name in ("nonce", "providerSignature", "owner"):
        del asked[name]
        answered = api.submit.open(f"{API}/compute", method=method, query_string=asked)
        expected = f'"{name}" is required in the call to {method}:/compute' if asked else "payload seems empty."
        assert error(answered) == (400, expected)


def test_a_stop_without_a_job_id_stops_all_jobs_of_the_owner(api: Api) -> None:
    mine = {api.start(agreementId=f"0xmine{n}")["jobId"] for n in range(6)}
    other = api.start(agreementId="0xother", owner="0xother")["jobId"]
    answered = json.loads(api.stop().text)
    assert {job["jobId"]: job["stopreq"] for job in answered} == dict.fromkeys(mine, 1)
    record = api.app.store.get(WorkflowId(other))
    assert record is not None
    assert record.workflow.stop == 0


def test_an_unknown_job_is_answered_with_an_empty_list(api: Api) -> None:
    assert api.stop(jobId="0xunknown").text == "[]"
    assert api.stop("DELETE", jobId="0xunknown").text == "[]"


def test_a_stop_needs_an_owner_of_two_characters_or_more(api: Api) -> None:
    api.start()
    answered = api.submit.put(f"{API}/compute", query_string=api.signed("x", owner="x"))
    assert answered.status_code == 400
    assert not any(record.workflow.stop for record in api.app.store.find(Query()))


def test_a_forged_stop_or_delete_changes_nothing(api: Api) -> None:
    job = api.start()["jobId"]
    api.key = OTHER_KEY
    assert api.stop(jobId=job).status_code == api.stop("DELETE", jobId=job).status_code == 401
    record = api.app.store.get(WorkflowId(job))
    assert record is not None
    assert (record.workflow.stop, record.workflow.removed) == (0, False)


def test_a_finished_job_is_not_stopped(api: Api) -> None:
    job = api.finished()
    assert json.loads(api.stop(jobId=job).text)[0]["stopreq"] == 0


def test_a_delete_without_a_job_or_an_agreement_is_refused(api: Api) -> None:
    api.finished()
    assert api.stop("DELETE").status_code == 400


def test_a_deleted_job_is_still_listed_but_has_no_results(api: Api) -> None:
    job = api.finished()
    found = json.loads(api.stop("DELETE", jobId=job).text)
    assert [(each["jobId"], each["removed"], each["results"]) for each in found] == [(job, 1, "")]
    assert api.jobs(job) == found
    again = json.loads(api.stop("DELETE", jobId=job).text)
    assert again == found


def test_deleting_a_running_job_stops_it(api: Api) -> None:
    job = api.start()["jobId"]
    found = json.loads(api.stop("DELETE", jobId=job).text)[0]
    assert (found["status"], found["stopreq"], found["removed"]) == (70, 1, 1)
    assert api.cluster.present() == []


def test_a_stop_is_accepted_while_the_cluster_is_unavailable(api: Api) -> None:
    job = api.start()["jobId"]
    api.cluster.fail_next("delete", ClusterUnavailable("away"))
    assert json.loads(api.stop(jobId=job).text)[0]["stopreq"] == 1
