"""Events about WorkFlow objects: a hint to go and look, never more."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.api import Api
from werkzeug.test import TestResponse

from functions.cluster.kubernetes.workflow_status import workflow_status
from functions.cluster.ports import ClusterUnavailable, Rejected
from functions.store.values import Query
from functions.workflow.model import Phase, WorkflowId

DATA = Path(__file__).parents[1] / "data/recorded/apiserversource-workflow.jsonl"
ADDED, UPDATED, DELETED = (json.loads(line) for line in DATA.read_text().splitlines())
ORIGIN = "demo/workflow-1"
ID = WorkflowId(ADDED["data"]["metadata"]["uid"].replace("-", ""))


@pytest.fixture
def api(api: Api) -> Api:
    """The recorded object lives in the namespace of an environment."""
    import msgspec

    offered = api.app.environments["ocean-compute"]
    api.app.environments = {"demo": msgspec.structs.replace(offered, id="demo", namespace="demo")}
    api.cluster.objects[ORIGIN] = ADDED["data"]
    return api


def send(api: Api, event: Any) -> TestResponse:
    return api.submit.post("/", json=event["data"], headers=event["headers"])


def jobs(api: Api) -> list[str]:
    return [record.workflow.id for record in api.app.store.find(Query())]


def test_an_applied_object_is_submitted_once_however_often_it_is_announced(api: Api) -> None:
    for event in (ADDED, ADDED, UPDATED, ADDED):
        answered = send(api, event)
        assert (answered.status_code, answered.data) == (204, b"")
    assert jobs(api) == [ID]
    record = api.app.store.get(ID)
    assert record is not None
    assert (record.submission.origin, record.submission.owner, record.workflow.reported) == (ORIGIN, ORIGIN, True)
    assert record.workflow.phase is Phase.CONFIGURE


def test_a_deleted_object_stops_its_workflow_and_removes_it(api: Api) -> None:
    send(api, ADDED)
    del api.cluster.objects[ORIGIN]
    assert send(api, DELETED).status_code == 204
    record = api.app.store.get(ID)
    assert record is not None
    assert record.workflow.removed
    assert api.cluster.present() == []


def test_a_forged_event_for_an_object_that_does_not_exist_starts_nothing(api: Api) -> None:
    api.cluster.objects.clear()
    assert send(api, ADDED).status_code == 204
    assert jobs(api) == []


def test_the_object_counts_and_not_the_content_of_the_event(api: Api) -> None:
    forged = json.loads(json.dumps(ADDED))
    forged["data"]["spec"]["metadata"]["stages"][0]["algorithm"]["rawcode"] = "print('mine')"
    send(api, forged)
    record = api.app.store.get(ID)
    assert record is not None
    assert record.submission.document == ADDED["data"]["spec"]["metadata"]


def test_a_forged_deletion_of_a_living_object_stops_nothing(api: Api) -> None:
    send(api, ADDED)
    send(api, DELETED)
    record = api.app.store.get(ID)
    assert record is not None
    assert not record.workflow.removed


def test_a_deletion_that_names_somebody_elses_job_stops_nothing(api: Api) -> None:
    provider_job = api.start(environment="demo")["jobId"]
    forged = json.loads(json.dumps(DELETED))
    forged["data"]["metadata"]["uid"] = provider_job
    send(api, forged)
    record = api.app.store.get(WorkflowId(provider_job))
    assert record is not None
    assert not record.workflow.removed


def test_an_object_that_is_being_deleted_or_has_another_uid_is_not_submitted(api: Api) -> None:
    metadata = ADDED["data"]["metadata"]
    for other in ({"deletionTimestamp": "2026-11-22T03:04:29Z"}, {"uid": "another"}):
        api.cluster.objects[ORIGIN] = {**ADDED["data"], "metadata": {**metadata, **other}}
        send(api, ADDED)
    assert jobs(api) == []


@pytest.mark.parametrize(
    ("spec", "why"),
    [
        ({}, "Missing stages"),
        ({"metadata": {"stages": [{"algorithm": {}}]}}, "Missing compute in stage 0"),
        (None, "Missing stages"),
    ],
)
def test_a_rejection_is_in_the_objects_status_until_the_object_is_corrected(api: Api, spec: Any, why: str) -> None:
    api.cluster.objects[ORIGIN] = {**ADDED["data"], "spec": spec}
    assert send(api, ADDED).status_code == 204
    told = api.cluster.reported[ORIGIN]
    assert (told.phase, told.ending and told.ending.reason) == (Phase.FINISHED, f"Invalid: {why}")
    assert jobs(api) == []
    api.cluster.objects[ORIGIN] = ADDED["data"]
    send(api, UPDATED)
    assert jobs(api) == [ID]


def test_a_rejection_is_written_once_although_writing_causes_an_event(api: Api) -> None:
    api.cluster.objects[ORIGIN] = {**ADDED["data"], "spec": {}}
    send(api, ADDED)
    told = workflow_status(api.cluster.reported[ORIGIN])
    api.cluster.objects[ORIGIN] = {**ADDED["data"], "spec": {}, "status": told}
    send(api, UPDATED)
    assert api.cluster.calls["report"] == 1
    api.cluster.objects[ORIGIN] = {**ADDED["data"], "spec": {"metadata": {"stages": [{}]}}, "status": told}
    send(api, UPDATED)
    assert api.cluster.calls["report"] == 2


def test_an_object_in_a_namespace_without_an_environment_is_rejected(api: Api) -> None:
    api.app.environments = {}
    send(api, ADDED)
    told = api.cluster.reported[ORIGIN]
    assert told.ending is not None
    assert told.ending.reason == "Invalid: no environment runs its Jobs in the namespace demo"


def test_an_unavailable_cluster_has_the_event_delivered_again(api: Api) -> None:
    api.cluster.fail_next("workflow_object", ClusterUnavailable("away"))
    assert send(api, ADDED).status_code == 503
    assert send(api, ADDED).status_code == 204
    assert jobs(api) == [ID]


def test_a_rejection_of_a_deleted_object_does_not_have_the_event_delivered_again(api: Api) -> None:
    api.cluster.objects[ORIGIN] = {**ADDED["data"], "spec": {}}
    api.cluster.fail_next("report", Rejected("NotFound", "gone", final=True))
    assert send(api, ADDED).status_code == 204


def test_a_rejection_that_cannot_be_written_now_is_written_with_the_next_delivery(api: Api) -> None:
    api.cluster.objects[ORIGIN] = {**ADDED["data"], "spec": {}}
    api.cluster.fail_next("report", ClusterUnavailable("away"))
    assert send(api, ADDED).status_code == 503
    send(api, ADDED)
    assert ORIGIN in api.cluster.reported


@pytest.mark.parametrize("change", [{"kind": "Pod"}, {"apiVersion": "v1"}, {"kind": None}])
def test_events_about_other_objects_are_ignored(api: Api, change: dict[str, Any]) -> None:
    answered = send(api, {"data": {**ADDED["data"], **change}, "headers": ADDED["headers"]})
    assert (answered.status_code, api.cluster.calls["workflow_object"]) == (204, 0)


@pytest.mark.parametrize("metadata", [None, {}, {"namespace": "demo", "name": "x"}, {"namespace": 1, "name": []}])
def test_an_object_without_a_name_is_refused_with_a_final_code(api: Api, metadata: Any) -> None:
    answered = send(api, {"data": {**ADDED["data"], "metadata": metadata}, "headers": ADDED["headers"]})
    assert answered.status_code == 400


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("name", "../../secrets/s"),
        ("name", "a\0b"),
        ("name", "a" * 254),
        ("name", "a?b"),
        ("namespace", "n/workflows/x"),
        ("namespace", "n" * 64),
        ("uid", "../x"),
        ("uid", "u" * 65),
        ("uid", ""),
    ],
)
def test_an_event_whose_names_kubernetes_would_not_allow_reads_nothing(api: Api, key: str, value: str) -> None:
    forged = json.loads(json.dumps(ADDED))
    forged["data"]["metadata"][key] = value
    api.cluster.objects.clear()
    assert send(api, forged).status_code == 400
    assert jobs(api) == []


def test_an_object_with_the_longest_name_is_told_that_it_is_too_long(api: Api) -> None:
    long = json.loads(json.dumps(ADDED))
    long["data"]["metadata"]["name"] = name = "a" * 253
    api.cluster.objects[f"demo/{name}"] = long["data"]
    assert send(api, long).status_code == 204
    assert jobs(api) == []
    reported = api.cluster.reported[f"demo/{name}"]
    assert reported.ending is not None
    assert reported.ending.reason == "Invalid: namespace and name together may have 254 characters"
