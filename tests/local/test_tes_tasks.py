"""GA4GH TES tasks on a laptop: what their executors see, print and leave, through a whole platform."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.laptop import Client, Laptop, until

BASE = "/ga4gh/tes/v1/tasks"
FINAL = ("COMPLETE", "EXECUTOR_ERROR", "SYSTEM_ERROR", "CANCELED")


ENVIRONMENTS = """
- id: tasks
  ramGB: 0.1
  maxJobDuration: 60
  fetch: {schemes: [file]}
  tes: {outputs: ["*"]}
- id: filtered
  ramGB: 0.1
  maxJobDuration: 60
  filterCommand: [sh, -c, "rm -f $OUTPUTS/work/secret; test ! -e $OUTPUTS/work/bad"]
  fetch: {schemes: [file]}
  tes: {outputs: ["*"]}
"""


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "environments.yaml").write_text(ENVIRONMENTS)
    laptop = Laptop(folder / "sluice", f"environments={folder / 'environments.yaml'}")
    laptop.start()
    yield laptop
    laptop.kill_everything()


def _run(client: Client, task: dict[str, Any]) -> dict[str, Any]:
    """The task in its FULL view, at its end."""
    task.setdefault("resources", {}).setdefault("backend_parameters", {}).setdefault("environment", "tasks")
    status, answer = client.call("POST", BASE, task)
    assert status == 200, answer
    id_ = json.loads(answer)["id"]

    def read() -> dict[str, Any]:
        found: dict[str, Any] = json.loads(client.call("GET", f"{BASE}/{id_}?view=FULL")[1])
        return found

    return until(read, lambda task: task["state"] in FINAL)


def _shell(script: str, **fields: Any) -> dict[str, Any]:
    return {"image": "alpine", "command": ["sh", "-c", script], **fields}


def test_executors_hand_on_files_and_their_streams_are_those_of_the_task(client: Client, tmp_path: Path) -> None:
    (tmp_path / "folder/sub").mkdir(parents=True)
    (tmp_path / "folder/sub/c.txt").write_text("three\n")
    sent = tmp_path / "sent"
    task = _run(
        client,
        {
            "inputs": [
                {"path": "/in/folder", "url": str(tmp_path / "folder"), "type": "DIRECTORY"},
                {"path": "/usr/local/x/conf", "content": "c $HOME\n"},
                {"path": "/script.sh", "content": 'cat /in/folder/sub/c.txt; echo "$1"'},
            ],
            "volumes": ["/vol"],
            "outputs": [
                {"path": "/work/out.txt", "url": (sent / "out.txt").as_uri()},
                {"path": "/vol", "url": (sent / "vol").as_uri(), "type": "DIRECTORY"},
                {"path": "/work/*.log", "path_prefix": "/work", "url": (sent / "logs").as_uri()},
            ],
            "executors": [
                {"image": "a", "command": ["sh", "/script.sh", "a $X 'q'"], "stdout": "/work/one.log"},
                _shell(
                    "cat /usr/local/x/conf; cat >/vol/x; ln -s x /vol/link; cd /usr/local; ls -d bin",
                    stdin="/work/one.log",
                ),
                _shell("echo error >&2; exit 3", ignore_error=True, stderr="/work/.hidden.log"),
                {"image": "a", "command": ["tr", "a-z", "A-Z"], "stdin": "/vol/x", "stdout": "/work/out.txt"},
            ],
        },
    )
    (log,) = task["logs"]
    assert task["state"] == "COMPLETE"
    assert [each["exit_code"] for each in log["logs"]] == [0, 0, 3, 0]
    assert log["logs"][0]["stdout"] == "three\na $X 'q'\n"
    assert log["logs"][1]["stdout"] == "c $HOME\nbin\n"
    assert log["logs"][2]["stderr"] == "error\n"
    files = {str(path.relative_to(sent)): path.read_text() for path in sent.rglob("*") if path.is_file()}
    assert files == {"out.txt": "THREE\nA $X 'Q'\n", "vol/x": "three\na $X 'q'\n", "logs/one.log": "three\na $X 'q'\n"}
    assert [output["path"] for output in log["outputs"]] == ["/work/out.txt", "/vol/x", "/work/one.log"]
    assert any("/vol/link" in line and "symbolic link" in line for line in log["system_logs"])


def test_what_a_failed_executor_has_left_is_delivered_and_the_rest_never_runs(client: Client, tmp_path: Path) -> None:
    outputs = [
        {"path": f"/work/{name}", "url": (tmp_path / name).as_uri()} for name in ("exitcode", "never", "stdout.txt")
    ]
    executors = [
        _shell("echo 4 >exitcode; echo hello; exit 4", workdir="/work", stdout="/work/stdout.txt"),
        _shell("echo x >/work/never"),
    ]
    task = _run(client, {"executors": executors, "outputs": outputs})
    assert task["state"] == "EXECUTOR_ERROR"
    assert [each["exit_code"] for each in task["logs"][0]["logs"]] == [4]
    assert (tmp_path / "exitcode").read_text() == "4\n"
    assert (tmp_path / "stdout.txt").read_text() == "hello\n"
    assert not (tmp_path / "never").exists()


def test_a_declared_output_that_is_missing_after_a_success_is_an_error(client: Client, tmp_path: Path) -> None:
    outputs = [{"path": "/work/never", "url": (tmp_path / "never").as_uri()}]
    task = _run(client, {"executors": [_shell("true")], "outputs": outputs})
    assert task["state"] == "SYSTEM_ERROR"
    assert task["logs"][0]["metadata"]["reason"] == "OutputMissing"
    assert task["logs"][0]["system_logs"][0] == "output /work/never is missing"


def test_a_program_that_does_not_exist_ends_with_127(client: Client) -> None:
    task = _run(client, {"executors": [{"image": "a", "command": ["no-such-program"]}]})
    assert task["state"] == "EXECUTOR_ERROR"
    assert task["logs"][0]["logs"][0]["exit_code"] == 127
    assert task["logs"][0]["logs"][0]["stderr"] == "no-such-program: not found\n"


def test_a_workdir_that_is_a_link_out_of_the_task_is_named_with_where_it_leads(client: Client, tmp_path: Path) -> None:
    (tmp_path / "secret").mkdir()
    executors = [
        _shell(f"rmdir /vol/d/link; ln -s {tmp_path / 'secret'} /vol/d/link"),
        _shell("ls", workdir="/vol/d/link"),
    ]
    task = _run(client, {"executors": executors, "volumes": ["/vol"]})
    second = task["logs"][0]["logs"][1]
    assert (task["state"], second["exit_code"]) == ("EXECUTOR_ERROR", 126)
    assert second["stderr"] == (
        f"the stage could not be started: its workdir /vol/d/link, a link to {tmp_path / 'secret'},"
        " cannot be entered: No such file or directory\n"
    )


def test_a_stream_cannot_be_led_out_of_the_task_by_a_link(client: Client, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    executors = [_shell(f"ln -s {victim} /vol/out"), _shell("echo stolen", stdout="/vol/out")]
    task = _run(client, {"executors": executors, "volumes": ["/vol"]})
    assert task["state"] == "EXECUTOR_ERROR"
    assert victim.read_text() == "untouched"
    assert "/vol/out cannot be opened" in task["logs"][0]["logs"][1]["stderr"]


def test_as_many_folders_as_a_task_may_have_are_mounted(client: Client) -> None:
    places = [{"path": f"/in{n}/deep/x", "content": f"{n}\n"} for n in range(199)]  # the last is /tmp
    task = _run(client, {"inputs": places, "executors": [_shell("cat /in*/deep/x | wc -l; : >/tmp/x")]})
    assert (task["state"], task["logs"][0]["logs"][0]["stdout"].strip()) == ("COMPLETE", "199")


def test_outputs_never_go_where_sluice_keeps_results(client: Laptop) -> None:
    url = f"file://{client.folder}/results/x"
    status, answer = client.call(
        "POST",
        BASE,
        {
            "executors": [_shell("true")],
            "outputs": [{"path": "/work/x", "url": url}],
            "resources": {"backend_parameters": {"environment": "tasks"}},
        },
    )
    assert (status, "$.outputs[0].url" in answer.decode()) == (400, True)


def test_where_a_filter_is_only_what_it_has_passed_leaves_and_nothing_that_was_printed(
    client: Client, tmp_path: Path
) -> None:
    def run(script: str, folder: str) -> dict[str, Any]:
        output = {"path": "/work", "url": (tmp_path / folder).as_uri(), "type": "DIRECTORY"}
        resources = {"backend_parameters": {"environment": "filtered"}}
        return _run(client, {"executors": [_shell(script)], "outputs": [output], "resources": resources})

    passed = run("echo private; cd /work; echo a >a; echo b >secret", "passed")
    assert (passed["state"], sorted(path.name for path in (tmp_path / "passed").iterdir())) == ("COMPLETE", ["a"])
    assert not passed["logs"][0]["logs"][0].get("stdout")
    refused = run("touch /work/a /work/bad", "refused")
    assert refused["state"] == "SYSTEM_ERROR"
    assert not (tmp_path / "refused").exists()
