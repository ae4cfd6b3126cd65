"""Whose GA4GH TES tasks a caller creates, sees and cancels, and how often."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.api import Api, altered
from support.api import error as answered
from support.records import at_once
from support.tes import HELLO, TesApi, tes_app, tokens_file

from functions.api.tes.task_view import View, task_view
from functions.status import tasks
from functions.store.ports import Store
from functions.store.values import Freeze, StoredTask
from functions.workflow.stage_options import DeliveryOptions


@pytest.fixture
def tes() -> TesApi:
    return TesApi(tes_app())


@pytest.fixture
def alice(tmp_path: Path) -> TesApi:
    file = tokens_file(tmp_path, "alice", "bob", "carol admin", "dora environments=other")
    return TesApi(tes_app(tes_tokens_file=file), "alice")


# --- owners ---------------------------------------------------------------------------------


def test_the_task_of_another_owner_is_as_unknown_as_none(alice: TesApi) -> None:
    id_ = alice.create()
    bob = alice.as_caller("bob")
    for unknown, name in ((bob, id_), (alice, "none"), (bob, "none"), (alice, "x" * 300)):
        for answer in (unknown.get(f"/tasks/{name}"), unknown.post(f"/tasks/{name}:cancel")):
            assert answer.status_code == 404
            assert answer.json == {"error": f"there is no task {name}"}
    assert bob.listed() == []
    assert alice.task(id_)["state"] == "QUEUED"


def test_a_freeze_reaches_the_views_of_the_tasks_that_it_covers(alice: TesApi, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[bool] = []

    def shown(stored: StoredTask, view: View, *, frozen: bool) -> dict[str, Any]:
        seen.append(frozen)
        return task_view(stored, view, frozen=frozen)

    monkeypatch.setattr(tasks, "task_view", shown)
    id_ = alice.create(inputs=[{"path": "/in/x", "url": "s3://data/penguins/x"}])
    alice.task(id_)
    with alice.app.store.begin() as tx:
        tx.freeze(Freeze("data:s3://data/penguins", alice.app.clock(), "operator", ""))
    alice.task(id_)
    assert seen == [False, True]


def test_an_admin_sees_and_cancels_the_tasks_of_all_owners(alice: TesApi) -> None:
    id_ = alice.create()
    carol = alice.as_caller("carol")
    assert carol.listed() == [id_]
    assert carol.post(f"/tasks/{id_}:cancel").json == {}
    assert alice.task(id_)["state"] == "CANCELED"


def test_every_route_but_service_info_needs_a_token(alice: TesApi) -> None:
    id_ = alice.create()
    for caller in ("nobody", ""):
        stranger = alice.as_caller(caller)
        answers = [stranger.get("/tasks"), stranger.get(f"/tasks/{id_}"), stranger.post(f"/tasks/{id_}:cancel")]
        for answer in (*answers, stranger.post("/tasks", json=HELLO), stranger.post("/tasks", data="{")):
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer")
        assert stranger.get("/service-info").status_code == 200


def test_a_caller_without_a_right_to_the_environment_is_refused(alice: TesApi) -> None:
    for task in (HELLO, {**HELLO, "resources": {"backend_parameters": {"environment": "ocean-compute"}}}):
        error = alice.as_caller("dora").refused(task)
        assert error.startswith("$.resources.backend_parameters.environment: expected one of your environments")
        assert error.endswith("but you may use none; ask the operator for one")


def test_the_outputs_of_an_owner_cannot_be_the_inputs_of_another(alice: TesApi) -> None:
    (only,) = alice.app.environments.values()
    owned = msgspec.structs.replace(only, tes=DeliveryOptions(outputs=("s3://lab/{owner}",)))
    alice.app.environments = {only.id: owned}
    alice.create(inputs=[{"path": "/in/x", "url": "s3://lab/alice/x"}])
    for item in ({"url": "s3://lab/bob/x"}, {"url": "s3://lab", "type": "DIRECTORY"}):
        error = alice.refused({**HELLO, "inputs": [{"path": "/in/x", **item}]})
        assert error == "$.inputs[0].url: expected a URL outside the places of other owners' outputs"
    ocean = Api(alice.app)
    source = {"index": 0, "id": "did:op:1", "url": ["s3://lab/bob/x"]}
    document = altered("stages", 0, "input", value=[source])
    code, text = answered(ocean.post(ocean.start_body(workflow=document)))
    assert (code, "$.stages[0].input[0].url" in text) == (400, True)


def test_the_environment_is_the_one_that_is_named_else_the_deployments(tes: TesApi) -> None:
    (only,) = tes.app.environments.values()
    second = msgspec.structs.replace(only, id="second")
    tes.app.environments = {only.id: only, "second": second}
    assert "ocean-compute, second" in tes.refused(HELLO)
    named = tes.create(resources={"backend_parameters": {"Environment": "second"}})
    assert tes.task(named)["logs"][0]["metadata"] == {"environment": "second"}
    chosen = TesApi(tes_app(tes_environment="ocean-compute"))
    chosen.app.environments = tes.app.environments
    assert chosen.task(chosen.create())["logs"][0]["metadata"] == {"environment": "ocean-compute"}


# --- idempotency ----------------------------------------------------------------------------


def test_a_repeated_request_with_a_key_gets_the_first_tasks_id(store: Store, tmp_path: Path) -> None:
    alice = TesApi(tes_app(store, tes_tokens_file=tokens_file(tmp_path, "alice", "bob")), "alice")
    key = {"Idempotency-Key": "k"}
    first = alice.post("/tasks", json=HELLO, headers=key).json["id"]
    assert alice.post("/tasks", json=HELLO, headers=key).json["id"] == first
    assert alice.post("/tasks", json={**HELLO, "name": "other"}, headers=key).status_code == 422
    assert alice.as_caller("bob").post("/tasks", json=HELLO, headers=key).json["id"] != first
    assert alice.listed() == [first]


def test_of_concurrent_requests_with_one_key_all_get_one_task(store: Store) -> None:
    tes = TesApi(tes_app(store))
    answers = at_once(8, lambda _: tes.post("/tasks", json=HELLO, headers={"Idempotency-Key": "k"}))
    assert [answer.status_code for answer in answers] == [200] * 8
    assert {answer.json["id"] for answer in answers} == set(tes.listed())
    assert len(tes.listed()) == 1


def test_a_strange_key_is_refused(tes: TesApi) -> None:
    for key in ("", "x" * 256, "ä"):
        assert tes.post("/tasks", json=HELLO, headers={"Idempotency-Key": key}).status_code == 400


# --- canceling ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "about", [{}, {"data": ""}, {"json": {}}, {"data": "no json"}, {"data": "[", "content_type": "application/json"}]
)
@pytest.mark.parametrize("colon", [":", "%3A", "%3a"])
def test_a_cancel_looks_at_no_body(tes: TesApi, about: dict[str, Any], colon: str) -> None:
    id_ = tes.create()
    for _ in range(2):
        answer = tes.post(f"/tasks/{id_}{colon}cancel", **about)
        assert (answer.status_code, answer.json) == (200, {})
    assert tes.task(id_)["state"] == "CANCELED"


def test_no_other_method_or_path_is_served(tes: TesApi) -> None:
    assert tes.post("/tasks/7").status_code == 404
    assert tes.post("/tasks/7:stop").status_code == 404
    assert tes.get("/tasks/7/8").status_code == 404
    assert tes.get("/nothing").status_code == 404
    assert tes.get("/tasks/service-info").status_code == 404
