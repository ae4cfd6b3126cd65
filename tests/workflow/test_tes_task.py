"""What a GA4GH TES task may hold, and what is refused with its place."""

from __future__ import annotations

from typing import Any

import pytest

from functions.workflow.container_paths import Mount
from functions.workflow.container_paths import plan as mounts_of
from functions.workflow.document import DocumentError
from functions.workflow.tes_checks import accept
from functions.workflow.tes_task import image_name, read

HELLO: dict[str, Any] = {"executors": [{"image": "alpine", "command": ["echo", "hello"]}]}


def _with(**fields: Any) -> dict[str, Any]:
    return {**HELLO, **fields}


def _executor(**fields: Any) -> dict[str, Any]:
    return {"executors": [{**HELLO["executors"][0], **fields}]}


def _output(path: str, **fields: Any) -> dict[str, Any]:
    return _with(outputs=[{"url": "s3://b/x", "path": path, **fields}])


def test_a_task_is_kept_as_it_came() -> None:
    task = _with(name="n", tags={"a": "b"}, resources={"ram_gb": 1.5, "cpu_cores": 2})
    assert accept(task).kept == task
    assert read(task) == accept(task).task


def test_nulls_what_only_the_server_sets_and_what_nobody_knows_are_dropped() -> None:
    task = _with(
        id="x",
        dialect="ocean",
        chainId="1" * 300,
        state="UNKNOWN",
        logs=None,
        creation_time="now",
        inputs=None,
        tags={"a": None, "b": "c"},
    )
    assert accept(task).kept == _with(tags={"b": "c"})


@pytest.mark.parametrize(
    ("task", "path"),
    [
        ([], "$"),
        ({}, "$"),
        ({"executors": []}, "$.executors"),
        (_executor(command=[]), "$.executors[0].command"),
        (_executor(command="echo"), "$.executors[0].command"),
        (_executor(command=[""]), "$.executors[0].command[0]"),
        (_executor(command=["echo", "a\0b"]), "$.executors[0].command[1]"),
        (_executor(image="UPPER CASE"), "$.executors[0].image"),
        (_executor(ignore_eror=True), "$.executors[0]"),
        (_executor(env={"a=b": "c"}), "$.executors[0].env"),
        (_executor(env={"a b\n": "c"}), "$.executors[0].env"),
        (_executor(env={"ä": "c"}), "$.executors[0].env"),
        (_executor(env={"1a": "c"}), "$.executors[0].env"),
        (_executor(env={"": "c"}), "$.executors[0].env"),
        (_executor(workdir="relative"), "$.executors[0].workdir"),
        (_executor(workdir="/usr"), "$.executors[0].workdir"),
        (_executor(stdout="/out.txt"), "$.executors[0].stdout"),
        (_executor(stdout="/work/log", stderr="/work/log"), "$.executors[0]"),
        (_executor(stdin="/work/log", stdout="/work/log"), "$.executors[0]"),
        (_executor(stdin="/proc/1/environ"), "$.executors[0].stdin"),
        (_with(volumes=["/"]), "$.volumes[0]"),
        (_with(volumes=["/a/../b"]), "$.volumes[0]"),
        (_with(volumes=["/etc"]), "$.volumes[0]"),
        (_with(inputs=[{"path": "/in/x", "content": "a"}], volumes=["/in/x/y"]), "$.volumes[0]"),
        (_with(inputs=[{"path": "/in/x", "content": "a"}], volumes=["/in/x"]), "$.volumes[0]"),
        (_with(volumes=[f"/v{n}/x" for n in range(201)]), "$.volumes"),
        (_with(inputs=[{"path": "/in/a"}]), "$.inputs[0]"),
        (_with(inputs=[{"path": "/in/a", "content": "x", "type": "DIRECTORY"}]), "$.inputs[0].type"),
        (_with(inputs=[{"path": "/in/a:b", "content": "x"}]), "$.inputs[0].path"),
        (_with(inputs=[{"path": "/in/a", "content": "x"}] * 2), "$.inputs[0].path"),
        (_with(inputs=[{"path": f"/in/{each}", "content": "x"} for each in ("a", "a/b")]), "$.inputs[1].path"),
        (_output(""), "$.outputs[0].path"),
        (_output("/x"), "$.outputs[0].path"),
        (_output("/usr/x"), "$.outputs[0].path"),
        (_output(f"/{'a' * 800}/x"), "$.outputs[0].path"),
        (_output("/work/*.txt"), "$.outputs[0].path_prefix"),
        (_output("/*/x", path_prefix="/"), "$.outputs[0].path"),
        (_output("/work/*.txt", path_prefix="/other"), "$.outputs[0].path_prefix"),
        (_with(tags={"": "a"}), "$.tags"),
        (_with(tags={"a": 1}), "$.tags.a"),
        (_with(tags={str(n): "" for n in range(10_000)}), "$.tags"),
        (_with(resources={"cpu_cores": 0}), "$.resources.cpu_cores"),
        (_with(resources={"cpu_cores": 1.5}), "$.resources.cpu_cores"),
        (_with(resources={"ram_gb": "1.5"}), "$.resources.ram_gb"),
        (
            _with(resources={"backend_parameters": {"vm": "x"}, "backend_parameters_strict": True}),
            "$.resources.backend_parameters",
        ),
        (_with(resources={"backend_parameters": {"GPUs": "1", "gpus": "1"}}), "$.resources.backend_parameters"),
        (
            _executor(stdout="/work/out") | {"resources": {"backend_parameters": {"use_entrypoint": "true"}}},
            "$.executors[0].stdout",
        ),
        (_with(resources={"backend_parameters": {"maxtime": "soon"}}), "$.resources.backend_parameters.maxtime"),
        (_with(resources={"backend_parameters": {"maxtime": "0"}}), "$.resources.backend_parameters.maxtime"),
        (_with(resources={"backend_parameters": {"maxtime": 5}}), "$.resources.backend_parameters.maxtime"),
        (
            _with(resources={"backend_parameters": {"USE_entrypoint": "yes"}}),
            "$.resources.backend_parameters.USE_entrypoint",
        ),
        (_executor(env={"A": "", "B C": None, "D E": {}}), "$.executors[0].env.D E"),
        (_with(tags={"k" * 999: 1}), f"$.tags.{'k' * 100}…"),
    ],
)
def test_a_wrong_task_is_refused_with_the_place(task: Any, path: str) -> None:
    with pytest.raises(DocumentError) as refused:
        accept(task)
    assert refused.value.path == path


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("file:data/a.csv", "a file: URL with three slashes and an absolute path, such as file:///data/a.csv"),
        ("file://data/a.csv", "a file: URL with three slashes and an absolute path, such as file:///data/a.csv"),
        ("s3://", "a URL with a bucket"),
        ("s3://b:80/a.csv", "a URL with a bucket and no port"),
        ("https:///a.csv", "a URL with a host"),
        ("file:///", "the URL of a file; that of a folder needs the type DIRECTORY"),
        ("/data/", "the URL of a file; that of a folder needs the type DIRECTORY"),
        ("s3://b", "the URL of a file; that of a folder needs the type DIRECTORY"),
        ("gs://b/data/", "the URL of a file; that of a folder needs the type DIRECTORY"),
    ],
)
def test_a_url_that_names_no_file_exactly_is_refused_at_the_door(url: str, expected: str) -> None:
    for field in ("inputs", "outputs"):
        with pytest.raises(DocumentError) as refused:
            accept(_with(**{field: [{"path": "/work/a.csv", "url": url}]}))
        assert (refused.value.path, refused.value.expected) == (f"$.{field}[0].url", expected)


@pytest.mark.parametrize(
    "url", ["/data/a.csv", "file://localhost/data/a.csv", "FILE:///data/a.csv", "https://h:8443/up/", "az://a/c/a.csv"]
)
def test_a_url_that_names_a_file_is_accepted(url: str) -> None:
    for field in ("inputs", "outputs"):
        assert accept(_with(**{field: [{"path": "/work/a.csv", "url": url}]}))


def test_a_pattern_that_begins_at_the_root_is_explained() -> None:
    with pytest.raises(DocumentError) as refused:
        accept(_output("/*/x", path_prefix="/"))
    assert refused.value.expected.startswith("a folder of your own before the first wildcard, as in `/work/*`")


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(DocumentError) as refused:
        accept(_executor(ignore_eror=True))
    assert refused.value.expected == "only fields that TES has here, not `ignore_eror`"


def test_unsupported_backend_parameters_are_not_kept() -> None:
    accepted = accept(_with(resources={"backend_parameters": {"vm": "x", "Environment": "e"}}))
    assert accepted.kept["resources"] == {"backend_parameters": {"Environment": "e"}}
    assert accepted.dropped == ("vm",)
    assert accepted.task.backend == {"environment": "e"}


def test_a_folder_is_writable_if_something_in_it_is_written() -> None:
    task = accept(
        {
            "executors": [
                {"image": "a", "command": ["x"], "workdir": "/work/sub", "stdout": "/tmp/out.log"},
            ],
            "inputs": [
                {"path": "/in/a", "content": "x"},
                {"path": "/work/b", "content": "x"},
                {"path": "/script.sh", "content": "x"},
                {"path": "/etc/tool.conf", "content": "x"},
            ],
            "outputs": [{"path": "/data/outfile", "url": "s3://b/o"}],
            "volumes": ["/vol/"],
        }
    ).task
    assert mounts_of(task.places) == (
        Mount("/data", read_only=False),
        Mount("/etc/tool.conf", read_only=True, is_file=True),
        Mount("/in", read_only=True),
        Mount("/script.sh", read_only=True, is_file=True),
        Mount("/tmp", read_only=False),
        Mount("/vol", read_only=False),
        Mount("/work", read_only=False),
    )


def test_the_folder_of_a_pattern_is_the_one_before_its_first_wildcard() -> None:
    task = accept(_output("/work/a*/b/*.txt", path_prefix="/work")).task
    assert task.outputs[0].folder == "/work"


def test_an_image_has_a_name_without_its_port_tag_and_digest() -> None:
    assert image_name(f"host:5000/a/b:1.0@sha256:{'0' * 64}") == "host:5000/a/b"
    assert image_name("ubuntu") == "ubuntu"
