"""A storage refuses outputs of a GA4GH TES task: the others are delivered, and the task says which were not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.publishing import Publish

from functions.staging.publish.tes_outputs import MOST_REFUSED
from functions.staging.report import StageFailure
from functions.workflow.endings import FINAL_REASONS
from functions.workflow.model import Scope
from functions.workflow.stage_options import DeliveryOptions
from functions.workflow.stage_task import Task
from functions.workflow.tes_checks import accept

ESCAPED = "is published under this name: each %XX replaces a character that the name of a result cannot have"


def _task(*outputs: dict[str, Any]) -> Task:
    body = {"executors": [{"image": "a", "command": ["x"]}], "outputs": list(outputs)}
    deliver = DeliveryOptions(outputs=("*",))
    return Task(workflow="w1", definition=accept(body).task, results="file:///results", deliver=deliver, owner="ann")


def _output(path: str, url: Path, **more: Any) -> dict[str, Any]:
    return {"path": path, "url": url.as_uri(), **more}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    root = tmp_path / "volume"
    for name in ("outputs/work", "outputs/vol/deep/er", "logs/0", "adminlogs"):
        (root / name).mkdir(parents=True)
    for name in ("outputs/work/a.txt", "outputs/vol/x", "outputs/vol/deep/er/y", "logs/0/stdout"):
        (root / name).write_text(name)
    return root


@pytest.mark.parametrize("scope", [Scope.ALL, Scope.OUTPUTS])
def test_an_output_that_its_storage_refuses_is_named_and_the_others_are_delivered(
    run: Publish, tmp_path: Path, scope: Scope
) -> None:
    (tmp_path / "file").touch()
    outputs = [_output("/work/a.txt", tmp_path / "file/below"), _output("/vol", tmp_path / "v", type="DIRECTORY")]
    written = run(_task(*outputs), scope)
    assert [each.path for each in written.delivered] == ["/vol/deep/er/y", "/vol/x"]
    assert written.refused == ("/work/a.txt",)
    assert "output /work/a.txt is not delivered: the storage at its URL refuses it" in written.warnings
    assert bool(written.streams) is (scope is Scope.ALL)


def test_a_file_whose_name_no_url_can_have_is_delivered_under_its_published_name(
    run: Publish, volume: Path, tmp_path: Path
) -> None:
    (volume / "outputs/vol/a\\b").write_text("odd")
    written = run(_task(_output("/vol", tmp_path / "v", type="DIRECTORY")))
    assert [each.path for each in written.delivered] == ["/vol/a%5Cb", "/vol/deep/er/y", "/vol/x"]
    assert (tmp_path / "v/a%5Cb").read_text() == "odd"
    assert written.warnings == (f"/vol/a%5Cb {ESCAPED}",)


def test_destinations_that_refuse_many_outputs_end_the_stage_for_good(
    run: Publish, volume: Path, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    for n in range(MOST_REFUSED - 1):
        (volume / f"outputs/vol/deep/{n}").touch()
    closed = _task(_output("/vol/deep", tmp_path / "file/below", type="DIRECTORY"))
    assert len(run(closed).refused) == MOST_REFUSED
    (volume / "outputs/vol/deep/more").touch()
    with pytest.raises(StageFailure) as failure:
        run(closed)
    assert failure.value.reason == "OutputRefused"
    assert failure.value.reason in FINAL_REASONS
