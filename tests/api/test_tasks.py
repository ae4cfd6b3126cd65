"""The door of GA4GH TES: who creates, sees and cancels which tasks, and what is refused."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest
from support.api import NOW
from support.tes import HELLO, TesApi, tes_app

SAME_PLACE = [{"path": "/o/a", "url": "s3://b/k%E2%80%8B"}, {"path": "/o/b", "url": "s3://b/k\u200b"}]
EXECUTOR = HELLO["executors"][0]


@pytest.fixture
def tes() -> TesApi:
    return TesApi(tes_app())


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
        ({"outputs": [{"path": "/o/x", "url": "s3://other/k"}]}, "$.outputs[0].url"),
        ({"outputs": [{"path": "/o/x", "url": "s3://b/../other/k"}]}, "$.outputs[0].url"),
        ({"outputs": [{"path": "/o/x", "url": "s3://b.other/k"}]}, "$.outputs[0].url"),
        ({"outputs": [{"path": "/o/x", "url": "s3://"}]}, "$.outputs[0].url"),
        ({"outputs": SAME_PLACE}, "$.outputs[1].url"),
        ({"outputs": [{"path": "/o/x", "url": "s3://b/x\ny"}]}, "$.outputs[0].url"),
        ({"outputs": [{"path": "/o/x", "url": "s3://b/x?y"}]}, "$.outputs[0].url"),
        ({"outputs": [{"path": "/o/x", "url": "s3://b/x#y"}]}, "$.outputs[0].url"),
        ({"outputs": [{"path": "/o", "url": "https://h/x?sig=1", "type": "DIRECTORY"}]}, "$.outputs[0].url"),
        ({"outputs": [{"path": "/o/*", "path_prefix": "/o", "url": "https://h/x?sig=1"}]}, "$.outputs[0].url"),
        ({"inputs": [{"url": "s3://b/x?versionId=1", "path": "/in/f"}]}, "$.inputs[0].url"),
        ({"outputs": [{"path": "/o/x", "url": "http://[::1"}]}, "$.outputs[0].url"),
        ({"inputs": [{"url": "http://[::1", "path": "/in/f"}]}, "$.inputs[0].url"),
        ({"inputs": [{"url": "s3://b/x\x7f", "path": "/in/f"}]}, "$.inputs[0].url"),
        ({"executors": [{"image": "alpine", "command": ["x", "y" * (1 << 17)]}]}, "$.executors[0].command[1]"),
        ({"executors": [{**EXECUTOR, "env": {"A": "y" * ((1 << 17) - 2)}}]}, "$.executors[0].env"),
        ({"inputs": [{"url": "ftp://host/f", "path": "/in/f"}]}, "$.inputs[0].url"),
        ({"inputs": [{"url": "https://host/f", "path": "/in/f", "type": "DIRECTORY"}]}, "$.inputs[0].url"),
        ({"outputs": [{"path": "/o/*", "url": "s3://b/o"}]}, "$.outputs[0].path_prefix"),
        ({"outputs": [{"path": "/o/*", "url": "s3://b/o", "path_prefix": "/p"}]}, "$.outputs[0].path_prefix"),
        ({"outputs": [{"path": "/etc/passwd", "url": "s3://b/o"}]}, "$.outputs[0].path"),
        ({"outputs": [{"path": "/o/x", "url": "s3://b/o", "type": "LINK"}]}, "$.outputs[0].type"),
        ({"volumes": ["/"]}, "$.volumes[0]"),
        ({"volumes": ["/usr"]}, "$.volumes[0]"),
        ({"volumes": [f"/v{n}/x" for n in range(101)]}, "$.volumes"),
        ({"tags": {"": "x"}}, "$.tags"),
        ({"tags": {f"{n}": "" for n in range(10_000)}}, "$.tags"),
        ({"tags": {"a": 1}}, "$.tags.a"),
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


def test_no_output_goes_where_results_are_kept_or_held() -> None:
    tes = TesApi(tes_app(results_url="s3://b/results", quarantine_url="file:///srv/quarantine"))
    for url in ("s3://b/results/w/1/x", "file:///srv/quarantine/w/1/x", "/srv/quarantine/x"):
        error = tes.refused({**HELLO, "outputs": [{"path": "/o/x", "url": url}]})
        assert "apart from where Sluice keeps results" in error
    tes.create(outputs=[{"path": "/o/x", "url": "file:///srv/quarantined/x"}])


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
        "storage": ["s3://b/", "s3://bucket/", "file:///"],
        "tesResources_backend_parameters": ["environment", "gpus", "maxtime", "use_entrypoint"],
    }


def test_a_contact_that_is_not_set_is_left_out(tes: TesApi) -> None:
    assert "contactUrl" not in tes.get("/service-info").json
