"""The objects of each stage, field by field: tests/cluster/golden/."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.stage_objects import PLAIN, RICH, make, objects

from functions.cluster.ports import StageJob
from functions.workflow.model import Stage
from functions.workflow.tes_task import read

GOLDEN = Path(__file__).parent / "golden"


def golden(name: str, *made: dict[str, Any]) -> tuple[str, str]:
    """The objects and the golden file, both as YAML. UPDATE_GOLDEN=1 writes the file anew; read the difference."""
    path = GOLDEN / f"{name}.yaml"
    text = yaml.safe_dump_all(made, sort_keys=False, width=120)
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    return text, path.read_text()


def readable(job: StageJob) -> list[dict[str, Any]]:
    """The objects without the parts that other tests check: the task, the script around the algorithm."""
    made = objects(job)
    made[1]["data"]["task.json"] = "the task"
    command = made[3]["spec"]["template"]["spec"]["containers"][0].get("command", [])
    if command[:1] == ["sh"]:
        command[2] = "algorithm.sh"
    return made


def flat(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every scalar of an object with its path. Items of lists go by their name, if they have one."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from flat(inner, f"{path}/{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            name = inner.get("name", index) if isinstance(inner, dict) else index
            yield from flat(inner, f"{path}/{name}")
    else:
        yield path, value


def changes(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> dict[str, Any]:
    """What the objects `after` have that `before` have not, by path; None where something is missing."""
    old, new = ({f"{o['kind']}{path}": v for o in made for path, v in flat(o)} for made in (before, after))
    return {path: new.get(path) for path in sorted(old.keys() | new.keys()) if old.get(path) != new.get(path)}


def test_the_objects_of_a_workflow_match_the_golden_file() -> None:
    every = [readable(make(stage))[:3] for stage in Stage]
    assert all(made == every[0] for made in every)
    made, expected = golden("workflow", *every[0])
    assert made == expected


@pytest.mark.parametrize("stage", Stage)
def test_the_job_of_a_stage_matches_the_golden_file(stage: Stage) -> None:
    made, expected = golden(stage, readable(make(stage))[3])
    assert made == expected


TASK = read(
    {
        "executors": [
            {"image": "alpine", "command": ["true"]},
            {
                "image": "quay.io/team/tool:1.0",
                "command": ["sh", "-c", "echo $HOME $(date) 'a b'"],
                "workdir": "/work",
                "stdin": "/in/a.csv",
                "stdout": "/work/out.txt",
                "env": {"GREETING": "it's $5", "HOME": "/work"},
            },
        ],
        "inputs": [
            {"path": "/in/a.csv", "url": "https://data.example/a.csv"},
            {"path": "/script.sh", "content": "echo"},
        ],
        "outputs": [{"path": "/work/out.txt", "url": "s3://tes/out.txt"}],
        "volumes": ["/shared"],
    }
)


def test_the_job_of_an_executor_matches_the_golden_file() -> None:
    job = readable(make(Stage.ALGORITHM, definition=TASK, executor=1, attempt=1))[3]
    made, expected = golden("executor", job)
    assert made == expected


def test_the_publish_of_a_task_has_the_credentials_for_its_outputs_apart_from_those_of_the_results() -> None:
    made, expected = golden("publish-task", readable(make(Stage.PUBLISH, definition=TASK))[3])
    assert made == expected


def test_an_image_with_its_own_entrypoint_gets_the_command_as_arguments() -> None:
    resources = {"backend_parameters": {"Use_Entrypoint": "true"}}
    task = read({"executors": [{"image": "a", "command": ["--x", "$y"]}], "resources": resources})
    job = readable(make(Stage.ALGORITHM, definition=task))[3]
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["args"] == ["--x", "$$y"]
    assert "command" not in container


def test_an_environment_with_every_option_changes_what_the_golden_file_lists() -> None:
    plain, rich = ({stage: readable(make(stage, env)) for stage in Stage} for env in (PLAIN, RICH))
    made, expected = golden("every-option", {str(stage): changes(plain[stage], rich[stage]) for stage in Stage})
    assert made == expected
