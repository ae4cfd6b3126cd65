"""`sluice tes` and `sluice token`: requests, output for people and for scripts, exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.fake_api import Sluice
from support.serving import serving

from functions.api.auth import tokens
from functions.cli.tes_client import TesClient
from functions.cli.tes_run import local_urls, wait_for_end

ROOT = Path(__file__).parents[2]
TASK: dict[str, Any] = {
    "id": "t1",
    "state": "EXECUTOR_ERROR",
    "name": "bad\x1b[31m name",
    "creation_time": "2026-11-22T12:00:00.000Z",
    "executors": [{"image": "alpine", "command": ["sh", "-c", "exit 3"]}],
    "logs": [
        {
            "logs": [
                {
                    "exit_code": 3,
                    "start_time": "2026-11-22T12:00:01.000Z",
                    "end_time": "2026-11-22T12:00:02.500Z",
                    "stdout": "".join(f"line {n}\n" for n in range(30)),
                    "stderr": "oops\x07\n",
                }
            ],
            "outputs": [{"url": "s3://b/k", "path": "/o/k", "size_bytes": "2048"}],
            "metadata": {},
            "system_logs": ["ended: ExecutorExit:3"],
        }
    ],
}


class TesServer:
    """Answers as TES does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, Any, str | None]] = []
        self.answers: dict[str, Any] = {}
        keeper = self

        class Handler(BaseHTTPRequestHandler):
            def _answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                sent = json.loads(body) if body else None
                keeper.asked.append((self.command, self.path, sent, self.headers.get("Authorization")))
                path = self.path.removeprefix("/ga4gh/tes/v1").partition("?")[0]
                status, answer = keeper.answers.get(path, (404, {"error": "there is no task"}))
                self.send_response(status)
                self.end_headers()
                self.wfile.write(json.dumps(answer).encode())

            do_GET = do_POST = _answer

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, sluice: Sluice) -> Iterator[TesServer]:
    made = TesServer()
    monkeypatch.setenv("SLUICE_URL", made.url)
    with serving(made.server):
        yield made


def test_submit_sends_the_file_as_it_is_and_prints_the_id(sluice: Sluice, server: TesServer, tmp_path: Path) -> None:
    server.answers["/tasks"] = (200, {"id": "t1"})
    (tmp_path / "task.json").write_text('{"executors": [], "future": 1.0}')
    (tmp_path / "token").write_text("secret\n")
    ran = sluice("tes", "submit", "task.json", "--token-file", "token")
    assert (ran.exit_code, ran.stdout) == (0, "t1\n")
    sent = {"executors": [], "future": 1.0}
    assert server.asked == [("POST", "/ga4gh/tes/v1/tasks", sent, "Bearer secret")]
    assert json.loads(sluice("tes", "submit", "task.json", "--json").stdout) == {"id": "t1"}


def test_a_refused_task_ends_the_command_with_the_servers_words(
    sluice: Sluice, server: TesServer, tmp_path: Path
) -> None:
    server.answers["/tasks"] = (400, {"error": "$.executors: expected …"})
    (tmp_path / "task.json").write_text("{}")
    ran = sluice("tes", "submit", "task.json")
    assert (ran.exit_code, ran.stderr) == (2, "Error: $.executors: expected …\n")
    (tmp_path / "task.json").write_text("{")
    ran = sluice("tes", "submit", "task.json")
    assert ran.exit_code == 2
    assert "task.json: not JSON" in ran.stderr


def test_get_shows_each_executor_and_what_was_delivered_without_control_characters(
    sluice: Sluice, server: TesServer
) -> None:
    server.answers["/tasks/t1"] = (200, TASK)
    ran = sluice("tes", "get", "t1")
    assert ran.exit_code == 1
    for part in ("EXECUTOR_ERROR", "sh -c exit 3", "exit code 3 after 1.5 s", "line 29", "oops", "s3://b/k", "Exit:3"):
        assert part in ran.stdout
    assert "line 19\n" not in ran.stdout
    assert "\x1b" not in ran.stdout
    assert "\x07" not in ran.stdout
    assert json.loads(sluice("tes", "get", "t1", "--json").stdout) == TASK


def test_an_exit_code_that_the_server_withholds_is_not_called_a_kill(sluice: Sluice, server: TesServer) -> None:
    log = {"start_time": "2026-01-01T10:00:00Z", "end_time": "2026-01-01T10:00:00Z", "exit_code": -1}
    held = {**TASK, "state": "RUNNING", "logs": [{"logs": [log], "outputs": []}]}
    server.answers["/tasks/t1"] = (200, held)
    assert "\n    ended; the exit code is not known\n" in sluice("tes", "get", "t1").stdout


def test_the_exit_code_tells_how_a_task_ended(sluice: Sluice, server: TesServer) -> None:
    for state, code in (("COMPLETE", 0), ("RUNNING", 0), ("SYSTEM_ERROR", 1), ("CANCELED", 1)):
        server.answers["/tasks/t1"] = (200, {**TASK, "state": state})
        assert sluice("tes", "get", "t1", "--json").exit_code == code
    assert sluice("tes", "get", "other").exit_code == 2


def test_list_sends_its_filters_and_follows_the_pages(sluice: Sluice, server: TesServer) -> None:
    server.answers["/tasks"] = (200, {"tasks": [TASK], "next_page_token": "next"})
    options = ("--state", "RUNNING", "--name-prefix", "a", "--tag", "k=v", "--tag", "only", "--limit", "2", "--json")
    ran = sluice("tes", "list", *options)
    assert [task["id"] for task in json.loads(ran.stdout)] == ["t1", "t1"]
    first, second = (path for _, path, _, _ in server.asked)
    assert "state=RUNNING&name_prefix=a&tag_key=k&tag_value=v&tag_key=only&tag_value=" in first
    assert "page_token=next" in second
    assert "t1" in sluice("tes", "list", "--limit", "1").stdout
    server.answers["/tasks"] = (200, {"tasks": []})
    assert sluice("tes", "list").stderr == "no such tasks\n"


def test_cancel_tells_the_state(sluice: Sluice, server: TesServer) -> None:
    server.answers["/tasks/t1:cancel"] = (200, {})
    server.answers["/tasks/t1"] = (200, {"id": "t1", "state": "CANCELED"})
    assert sluice("tes", "cancel", "t1").stdout == "CANCELED\n"
    assert server.asked[0][:2] == ("POST", "/ga4gh/tes/v1/tasks/t1:cancel")


def test_relative_urls_become_files_beside_the_task_and_below_the_folder_of_outputs(tmp_path: Path) -> None:
    task = {
        "inputs": [{"url": "../data/a b.csv"}, {"url": "s3://b/k"}, {"url": "/srv/x"}, {"content": "x"}, 7],
        "outputs": [{"url": "plots/"}, {"url": "https://host/x"}],
    }
    (tmp_path / "data").mkdir()
    (tmp_path / "data/a b.csv").touch()
    local = local_urls(task, tmp_path / "here/task.json", tmp_path / "out")
    assert local["inputs"][0]["url"] == (tmp_path / "data/a b.csv").as_uri()
    assert [each["url"] for each in local["inputs"][1:3]] == ["s3://b/k", "/srv/x"]
    assert local["outputs"][0]["url"] == (tmp_path / "out/plots").as_uri()
    assert local_urls([], tmp_path, tmp_path) == []


def test_submit_resolves_relative_urls_as_run_does_and_names_an_input_that_is_missing(
    sluice: Sluice, server: TesServer, tmp_path: Path
) -> None:
    server.answers["/tasks"] = (200, {"id": "t1"})
    task = {"inputs": [{"url": "a.csv"}], "outputs": [{"url": "b.csv"}]}
    (tmp_path / "task.json").write_text(json.dumps(task))
    ran = sluice("tes", "submit", "task.json")
    assert (ran.exit_code, server.asked) == (2, [])
    assert "$.inputs[0].url: expected a URL, or a path relative to task.json" in ran.stderr
    (tmp_path / "a.csv").touch()
    assert sluice("tes", "submit", "task.json").exit_code == 0
    sent = server.asked[0][2]
    assert sent["inputs"] == [{"url": (tmp_path / "a.csv").as_uri()}]
    assert sent["outputs"] == [{"url": (tmp_path / "out/task/b.csv").as_uri()}]


def test_relative_urls_are_refused_for_a_server_on_another_machine(sluice: Sluice, tmp_path: Path) -> None:
    (tmp_path / "task.json").write_text('{"outputs": [{"url": "s3://b/k"}, {"url": "b.csv"}]}')
    ran = sluice("tes", "submit", "task.json", "--url", "https://sluice.example")
    assert ran.exit_code == 2
    assert "$.outputs[1].url: expected an absolute URL" in ran.stderr
    assert "https://sluice.example cannot reach files of this machine" in ran.stderr


def test_the_example_runs_as_make_demo_tes_shows_it(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "functions.cli.main", "tes", "run", str(ROOT / "examples/tes/task.json"), "--json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
    assert ran.returncode == 0, ran.stderr
    task = json.loads(ran.stdout)
    assert (task["state"], [log["exit_code"] for log in task["logs"][0]["logs"]]) == ("COMPLETE", [0, 0])
    table = (tmp_path / "out/task/regression.csv").read_text().splitlines()
    assert table[1:] == ["Adelie,151,32.83,0.468", "Chinstrap,68,34.57,0.642", "Gentoo,123,54.62,0.703"]


def test_a_task_that_fails_or_is_refused_ends_the_run_with_its_exit_code(tmp_path: Path) -> None:
    for body, code in (
        ({"executors": [{"image": "alpine", "command": ["false"]}]}, 1),
        ({"executors": [{"image": "alpine", "command": []}]}, 2),
    ):
        (tmp_path / "task.json").write_text(json.dumps(body))
        command = [sys.executable, "-m", "functions.cli.main", "tes", "run", "task.json"]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        ran = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=100)
        assert ran.returncode == code, ran.stderr


def test_a_new_token_comes_with_the_line_that_lets_it_in(sluice: Sluice) -> None:
    made = json.loads(sluice("token", "new", "alice", "--environment", "lab", "--admin", "--json").stdout)
    assert made["line"] == f"{tokens.digest(made['token'])} alice environments=lab admin"
    shown = sluice("token", "new", "alice").stdout
    assert shown.startswith("token: ")
    (entry,) = tokens.parse([shown.partition("line:")[2]])
    assert (entry.owner, entry.environments, entry.admin) == ("alice", None, False)
    for owner in ("oidc:alice", "a b", ""):
        assert sluice("token", "new", owner).exit_code == 2
    assert sluice("token", "new", "alice", "--environment", "a,b").exit_code == 2


@pytest.mark.parametrize(("last", "is_held"), [({"phase": "held"}, True), ({"dateFinished": "1795811"}, False)])
def test_a_run_asks_once_between_two_pauses(server: TesServer, last: dict[str, str], is_held: bool) -> None:
    running = {"jobId": "t1", "phase": "algorithm", "dateFinished": None}
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        server.answers["/api/v1/operator/info"] = (200, running if len(pauses) < 5 else {**running, **last})

    server.answers["/api/v1/operator/info"] = (200, running)
    assert wait_for_end(TesClient(server.url), "t1", pause) == (is_held, False)
    assert len(pauses) == 5
    assert len(server.asked) == 6
