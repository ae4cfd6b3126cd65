"""The inputs of a GA4GH TES task on the volume: each at its own path, with every folder that a container mounts."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from functions.staging.configure.program import run
from functions.staging.retry import RetryPolicy
from functions.workflow.codes import Code
from functions.workflow.stage_options import ConfigureTask, FetchOptions
from functions.workflow.tes_task import read


def _configure(volume: Path, *inputs: dict[str, Any], options: FetchOptions | None = None, **fields: Any) -> int:
    body = {"executors": [{"image": "a", "command": ["x"]}] * 2, "inputs": list(inputs), **fields}
    volume.mkdir(exist_ok=True)
    task = ConfigureTask(definition=read(body), fetch=options or FetchOptions(schemes=("file",)))
    return run(task, volume, retries=RetryPolicy(tries=1), sink=lambda _line: None)


def _reason(volume: Path) -> str:
    return (volume / "termination-message").read_text().partition(":")[0]


def _files(volume: Path) -> dict[str, str]:
    root = volume / "outputs"
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


def test_content_a_file_and_a_folder_are_where_the_task_wants_them(tmp_path: Path) -> None:
    (tmp_path / "data/sub").mkdir(parents=True)
    (tmp_path / "data/sub/b").write_text("b")
    (tmp_path / "data/a").write_text("a")
    volume = tmp_path / "volume"
    code = _configure(
        volume,
        {"path": "/script.sh", "content": "echo ü", "url": "s3://ignored/x"},
        {"path": "/var/lib/x/a", "url": (tmp_path / "data/a").as_uri()},
        {"path": "/in/", "url": str(tmp_path / "data"), "type": "DIRECTORY"},
    )
    assert code == 0
    assert _files(volume) == {"script.sh": "echo ü", "var/lib/x/a": "a", "in/a": "a", "in/sub/b": "b"}
    provenance = json.loads((volume / "provenance.json").read_text())
    assert {(each["path"], each["source"]) for each in provenance["files"]} == {
        ("outputs/script.sh", "content"),
        ("outputs/var/lib/x/a", "file"),
        ("outputs/in/a", "file"),
        ("outputs/in/sub/b", "file"),
    }


def test_every_folder_that_a_container_mounts_is_there_and_the_group_may_write_to_it(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    executor = {"image": "a", "command": ["x"], "workdir": "/w/deep", "stdout": "/so/out"}
    outputs = [{"path": "/o/x", "url": "s3://b/x"}, {"path": "/p/*/y", "path_prefix": "/p", "url": "s3://b/p"}]
    assert _configure(volume, executors=[executor], volumes=["/v"], outputs=outputs) == 0
    for path in ("outputs/w/deep", "outputs/so", "outputs/v", "outputs/o", "outputs/p", "outputs/tmp", "logs/0"):
        assert stat.S_IMODE((volume / path).stat().st_mode) == 0o2775, path


def test_a_second_attempt_leaves_nothing_of_the_first(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    assert _configure(volume, {"path": "/in/old", "content": "old"}) == 0
    assert _configure(volume, {"path": "/in/new", "content": "new"}) == 0
    assert _files(volume) == {"in/new": "new"}


def test_links_in_a_folder_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "secret").write_text("secret")
    (tmp_path / "data/link").symlink_to(tmp_path / "secret")
    volume = tmp_path / "volume"
    assert _configure(volume, {"path": "/in", "url": str(tmp_path / "data"), "type": "DIRECTORY"}) == 0
    assert _files(volume) == {}


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ({"path": "/in/a", "url": "file:///nowhere"}, "DataUnavailable"),
        ({"path": "/in", "url": "file:///nowhere", "type": "DIRECTORY"}, "DataUnavailable"),
        ({"path": "/in/a", "url": "s3://bucket/x"}, "DataForbidden"),
        ({"path": "/in", "url": "https://h/x", "type": "DIRECTORY"}, "DataForbidden"),
        ({"path": "/in/../../x", "content": "x"}, "InvalidDocument"),
    ],
)
def test_an_input_that_cannot_be_had_ends_the_stage_for_good(tmp_path: Path, item: dict[str, Any], reason: str) -> None:
    volume = tmp_path / "volume"
    assert _configure(volume, item) == Code.DATA_FAILED
    assert _reason(volume) == reason
    if reason != "InvalidDocument":
        assert (volume / "failed-input").read_text() == f"{item['path']}: {reason}"


def test_the_name_of_a_failed_input_does_not_outlive_the_attempt(tmp_path: Path) -> None:
    volume = tmp_path / "volume"
    assert _configure(volume, {"path": "/in/a", "url": "file:///nowhere"}) == Code.DATA_FAILED
    assert _configure(volume, {"path": "/in/a", "content": "x"}) == 0
    assert not (volume / "failed-input").exists()


def test_a_folder_with_too_many_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    for n in range(5):
        (tmp_path / f"data/{n}").touch()
    volume = tmp_path / "volume"
    item = {"path": "/in", "url": str(tmp_path / "data"), "type": "DIRECTORY"}
    assert _configure(volume, item, options=FetchOptions(schemes=("file",), max_files=4)) == Code.DATA_FAILED
    assert _reason(volume) == "DataTooLarge"


def test_a_large_content_arrives_whole(tmp_path: Path) -> None:
    text = "ü" * (1 << 19)
    volume = tmp_path / "volume"
    assert _configure(volume, {"path": "/in/large", "content": text}) == 0
    assert _files(volume) == {"in/large": text}
