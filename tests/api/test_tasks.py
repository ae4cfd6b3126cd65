"""The door of GA4GH TES: who creates, sees and cancels which tasks, and what is refused."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.api import NOW
from support.tes import HELLO, TesApi, tes_app, tokens_file

from functions.store.ports import Store

EXECUTOR = HELLO["executors"][0]


@pytest.fixture
def tes() -> TesApi:
    return TesApi(tes_app())


@pytest.fixture
def alice(tmp_path: Path) -> TesApi:
    file = tokens_file(tmp_path, "alice", "bob", "carol admin", "dora environments=other")
    return TesApi(tes_app(tes_tokens_file=file), "alice")


# --- creating -------------------------------------------------------------------------------


def test_a_task_is_shown_as_it_was_sent(tes: TesApi) -> None:
    sent: dict[str, Any] = {
        "name": "all fields",
        "description": "ä\U0001f600",
        "inputs": [
            {"url": "s3://b/k", "path": "/in/a", "type": "FILE", "name": "n", "streamable": True},
            {"content": "text", "path": "/in/b"},
            {"url": "file:///srv/d", "path": "/in/d", "type": "DIRECTORY"},
        ],
        "outputs": [{"path": "/out/*.txt", "url": "s3://b/out", "path_prefix": "/out", "description": "d"}],
        "resources": {"cpu_cores": 1, "ram_gb": 1.0, "disk_gb": 0.25, "preemptible": False, "zones": ["a"]},
        "executors": [
            {
                **EXECUTOR,
                "env": {"A": "b"},
                "workdir": "/out",
                "stdin": "/in/a",
                "stdout": "/out/o",
                "stderr": "/out/e",
            },
            {**EXECUTOR, "ignore_error": False},
        ],
        "volumes": ["/vol"],
        "tags": {"a": "b", "c": ""},
    }
    shown = tes.task(tes.create(**sent))
    assert shown.pop("state") == "QUEUED"
    assert datetime.fromisoformat(shown.pop("creation_time")) == NOW.replace(microsecond=446000)
    for name in ("id", "logs"):
        shown.pop(name)
    typed = {**sent, "inputs": [{"type": "FILE", **each} for each in sent["inputs"]]}
    typed["outputs"] = [{"type": "FILE", **each} for each in sent["outputs"]]
    assert shown == typed


def test_numbers_stay_numbers_and_of_their_kind(tes: TesApi) -> None:
    id_ = tes.create(resources={"cpu_cores": 1, "ram_gb": 1.0, "disk_gb": 0.5})
    assert '"cpu_cores":1,"ram_gb":1.0,"disk_gb":0.5' in tes.get(f"/tasks/{id_}", view="FULL").text


def test_no_default_is_added_that_nobody_sent(tes: TesApi) -> None:
    shown = tes.task(tes.create())
    assert set(shown) == {"id", "state", "name", "executors", "logs", "creation_time"}
    assert shown["executors"] == HELLO["executors"]
    assert set(shown["logs"][0]) == {"logs", "outputs", "metadata", "system_logs"}


def test_nulls_read_only_and_unknown_fields_are_left_out(tes: TesApi) -> None:
    body: dict[str, Any] = {
        "id": "mine",
        "state": "COMPLETE",
        "logs": [],
        "creation_time": "2020",
        "future": {"x": 1},
        "volumes": None,
    }
    executors = [{**EXECUTOR, "env": None, "workdir": None}]
    id_ = tes.create(**body, executors=executors, tags={"a": None, "b": "c"})
    assert id_ != "mine"
    shown = tes.task(id_)
    assert shown["state"] == "QUEUED"
    assert shown["tags"] == {"b": "c"}
    assert shown["executors"] == [EXECUTOR]
    assert not {"future", "volumes"} & set(shown)


def test_unsupported_backend_parameters_are_dropped_with_a_line_in_the_system_log(tes: TesApi) -> None:
    id_ = tes.create(resources={"backend_parameters": {"VmSize": "Standard_D64_v3", "MaxTime": "7"}})
    shown = tes.task(id_)
    assert shown["resources"] == {"backend_parameters": {"MaxTime": "7"}}
    assert shown["logs"][0]["system_logs"] == ["backend parameter VmSize is not supported; it is ignored"]


def test_equal_tasks_are_different_tasks(tes: TesApi) -> None:
    assert len({tes.create() for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"executors": []}, "$.executors"),
        ({"executors": [{"command": ["a"]}]}, "$.executors[0]"),
        ({"executors": [{"image": "", "command": ["a"]}]}, "$.executors[0].image"),
        ({"executors": [{"image": "al pine", "command": ["a"]}]}, "$.executors[0].image"),
        ({"executors": [{"image": "alpine", "command": []}]}, "$.executors[0].command"),
        ({"executors": [{"image": "alpine", "command": "echo"}]}, "$.executors[0].command"),
        ({"executors": [{"image": "alpine", "command": [""]}]}, "$.executors[0].command[0]"),
        ({"executors": [{**EXECUTOR, "comand": []}]}, "$.executors[0]"),
        ({"executors": [{**EXECUTOR, "workdir": "tmp"}]}, "$.executors[0].workdir"),
        ({"executors": [{**EXECUTOR, "stdout": "/a/../b"}]}, "$.executors[0].stdout"),
        ({"executors": [{**EXECUTOR, "stdin": "/proc/1/environ"}]}, "$.executors[0].stdin"),
        ({"executors": [{**EXECUTOR, "env": {"A=B": "c"}}]}, "$.executors[0].env"),
        ({"inputs": [{"path": "/a/b"}]}, "$.inputs[0]"),
        ({"inputs": [{"url": "s3://b/k", "path": "a"}]}, "$.inputs[0].path"),
        ({"inputs": [{"content": "x", "path": "/a:b/c"}]}, "$.inputs[0].path"),
        ({"inputs": [{"content": "x", "path": "/proc/self/mem"}]}, "$.inputs[0].path"),
        ({"inputs": [{"content": "x", "path": "/a//b"}]}, "$.inputs[0].path"),
        ({"inputs": [{"content": "x", "path": "/a/./b"}]}, "$.inputs[0].path"),
        ({"inputs": [{"content": "x", "path": "/" + "a/" * 400 + "b"}]}, "$.inputs[0].path"),
        ({"inputs": [{"content": "x", "path": "/a/b"}] * 2}, "$.inputs[0].path"),
        ({"outputs": [{"path": "/o/x", "url": ""}]}, "$.outputs[0].url"),
        ({"outputs": [{"path": "/o/*", "url": "s3://b/o"}]}, "$.outputs[0].path_prefix"),
        ({"outputs": [{"path": "/o/*", "url": "s3://b/o", "path_prefix": "/p"}]}, "$.outputs[0].path_prefix"),
        ({"outputs": [{"path": "/etc/passwd", "url": "s3://b/o"}]}, "$.outputs[0].path"),
        ({"outputs": [{"path": "/o/x", "url": "s3://b/o", "type": "LINK"}]}, "$.outputs[0].type"),
        ({"volumes": ["/"]}, "$.volumes[0]"),
        ({"volumes": ["/usr"]}, "$.volumes[0]"),
        ({"volumes": [f"/v{n}/x" for n in range(101)]}, "$.volumes"),
        ({"tags": {"": "x"}}, "$.tags"),
        ({"tags": {f"{n}": "" for n in range(10_000)}}, "$.tags"),
        ({"tags": {"a": 1}}, "$.tags[...]"),
        ({"name": 7}, "$.name"),
        ({"resources": {"cpu_cores": 0}}, "$.resources.cpu_cores"),
        ({"resources": {"cpu_cores": 64}}, "$.resources.cpu_cores"),
        ({"resources": {"ram_gb": "1"}}, "$.resources.ram_gb"),
        ({"resources": {"ram_gb": 4096}}, "$.resources.ram_gb"),
        ({"resources": {"disk_gb": 1e8}}, "$.resources.disk_gb"),
        ({"resources": {"backend_parameters": {"gpus": "1"}}}, "$.resources.backend_parameters.gpus"),
        ({"resources": {"backend_parameters": {"maxtime": "-1"}}}, "$.resources.backend_parameters.maxtime"),
        ({"resources": {"backend_parameters": {"maxtime": "1", "MaxTime": "2"}}}, "$.resources.backend_parameters"),
        (
            {"resources": {"backend_parameters": {"INVALID": "PARAMETER"}, "backend_parameters_strict": True}},
            "$.resources.backend_parameters",
        ),
        (
            {"resources": {"backend_parameters": {"environment": "nowhere"}}},
            "$.resources.backend_parameters.environment",
        ),
    ],
)
def test_a_bad_task_is_refused_with_the_path_of_the_fault(tes: TesApi, change: dict[str, Any], path: str) -> None:
    error = tes.refused({**HELLO, **change})
    assert error.startswith(f"{path}: expected "), error
    assert tes.listed() == []


def test_two_hundred_mounts_are_too_many(tes: TesApi) -> None:
    inputs = [{"content": "x", "path": f"/in{n}/x"} for n in range(250)]
    assert "at most 200 separate folders" in tes.refused({**HELLO, "inputs": inputs})


@pytest.mark.parametrize(
    "body", ["", "{", "[]", "null", '"x"', '{"executors": [NaN]}', '{"a": "\\ud800"}', "[" * 100_000]
)
def test_a_body_that_is_no_task_is_refused(tes: TesApi, body: str) -> None:
    answer = tes.post("/tasks", data=body, content_type="application/json")
    assert answer.status_code == 400, answer.text
    assert set(answer.json) == {"error"}


def test_a_task_is_sent_as_json(tes: TesApi) -> None:
    assert tes.post("/tasks", data=json.dumps(HELLO), content_type="text/plain").status_code == 415
    assert tes.post("/tasks?x=1", json=HELLO).status_code == 200


def test_nul_is_refused_wherever_it_stands(tes: TesApi) -> None:
    for body in ({**HELLO, "name": "a\0b"}, {**HELLO, "tags": {"a\0": ""}}, {**HELLO, "future": ["\0"]}):
        tes.refused(body)


def test_content_of_one_mebibyte_is_too_large_for_a_body_and_most_of_it_is_not(tes: TesApi) -> None:
    large = {**HELLO, "inputs": [{"content": "x" * (1 << 20), "path": "/in/x"}]}
    assert "1048576 bytes" in tes.refused(large, 413)
    id_ = tes.create(inputs=[{"content": "x" * 900_000, "path": "/in/x"}])
    assert len(tes.task(id_)["inputs"][0]["content"]) == 900_000
    assert "content" not in tes.task(id_, "BASIC")["inputs"][0]


def test_a_thousand_tags_are_kept(tes: TesApi) -> None:
    tags = {f"key {n}": f"value {n}" for n in range(1000)}
    assert tes.task(tes.create(tags=tags))["tags"] == tags


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
    error = alice.as_caller("dora").refused(HELLO)
    assert error.startswith("$.resources.backend_parameters.environment: expected one of your environments: none")


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


# --- service-info ---------------------------------------------------------------------------


def test_service_info_has_what_ga4gh_requires_and_what_the_operator_set() -> None:
    about: dict[str, Any] = {"tes_service_id": "org.example.tes", "tes_service_name": "Lab", "tes_organization": "Org"}
    urls: dict[str, Any] = {
        "tes_organization_url": "https://org.example",
        "tes_contact_url": "https://org.example/help",
    }
    info = TesApi(tes_app(**about, **urls)).get("/service-info").json
    assert info.pop("version")
    assert info == {
        "id": "org.example.tes",
        "name": "Lab",
        "type": {"group": "org.ga4gh", "artifact": "tes", "version": "1.1.0"},
        "organization": {"name": "Org", "url": "https://org.example"},
        "contactUrl": "https://org.example/help",
        "storage": [],
        "tesResources_backend_parameters": ["environment", "gpus", "maxtime", "use_entrypoint"],
    }


def test_a_contact_that_is_not_set_is_left_out(tes: TesApi) -> None:
    assert "contactUrl" not in tes.get("/service-info").json
