"""`sluice top`: one table without a terminal, and a screen that is redrawn with one."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.api import ROOT
from support.fake_api import FakeApi, Sluice, job
from support.laptop import until

from functions.cli.top_command import _screen, age

WORKFLOW: dict[str, Any] = {
    "id": "job1",
    "environment": "demo",
    "owner": "0xOwner",
    "dialect": "ocean",
    "state": "running",
    "phase": "publish",
    "attempt": 2,
    "reason": "Unschedulable",
    "created": "1700000000.000000",
    "finished": None,
}
ENVIRONMENT = {"id": "demo", "slots": 4, "running": 1, "queued": 7, "held": 2}


@pytest.fixture
def server(api: FakeApi) -> FakeApi:
    api.put("GET", "/console/api/overview", {"environments": [ENVIRONMENT], "freezes": [{"scope": "all"}]})
    api.put("GET", "/console/api/workflows", {"workflows": [WORKFLOW], "next": None})
    return api


def test_without_a_terminal_one_table_is_printed(sluice: Sluice, server: FakeApi) -> None:
    ended = sluice("top", "--url", server.url)
    assert ended.exit_code == 0
    first, environment, _, _, workflow = ended.stdout.splitlines()
    assert first.split() == ["environment", "slots", "running", "queued", "held"]
    assert environment.split() == ["demo", "4", "1", "7", "2"]
    assert workflow.split()[:6] == ["job1", "demo", "running", "publish", "(attempt", "2)"]
    assert "Unschedulable" in workflow
    assert "\x1b" not in ended.stdout
    assert len(server.of("/console/api/overview")) == 1
    assert server.of("/console/api/workflows")[0].params == {"state": "active"}


def test_without_a_terminal_freezes_are_named_on_stderr(sluice: Sluice, server: FakeApi) -> None:
    assert sluice("top", "--url", server.url).stderr.startswith("frozen: all; nothing of it is published")


def test_json_has_everything(sluice: Sluice, server: FakeApi) -> None:
    shown = json.loads(sluice("top", "--json", "--url", server.url).stdout)
    assert (shown["environments"], shown["workflows"]) == ([ENVIRONMENT], [WORKFLOW])


def test_who_is_no_operator_sees_environments_and_own_jobs(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/console/api/overview", {"error": "Admin header is empty."}, 400)
    api.put("GET", "/environments", [{"id": "demo", "maxJobs": 4, "currentJobs": 1}])
    api.put("GET", "/compute", [job("mine", 40), job("done", 70)])
    ended = sluice("top", "--url", api.url)
    assert ended.exit_code == 0
    assert ["demo", "4", "1", "–", "–"] in [line.split() for line in ended.stdout.splitlines()]
    assert "mine" in ended.stdout
    assert "done" not in ended.stdout


def test_a_server_that_does_not_answer_ends_the_command(sluice: Sluice) -> None:
    assert sluice("top", "--url", "http://127.0.0.1:1").exit_code == 3


def test_a_terminal_is_redrawn_until_it_is_interrupted(server: FakeApi, tmp_path: Path) -> None:
    hostile = {**WORKFLOW, "reason": "\x1b]0;owned\x07"}
    server.put("GET", "/console/api/workflows", {"workflows": [hostile] * 100})
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "functions.cli.main", "top", "--interval", "0.5", "--url", server.url],
        env={
            **os.environ,
            "HOME": str(tmp_path),
            "PYTHONPATH": str(ROOT),
            "TERM": "xterm",
            "COLUMNS": "200",
            "LINES": "24",
        },
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    printed = b""
    try:
        until(lambda: len(server.of("/console/api/overview")), lambda count: count >= 3)
        process.send_signal(signal.SIGINT)
        while chunk := os.read(ours, 1 << 16):
            printed += chunk
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
        assert process.wait(20) == 0
    text = printed.decode()
    assert "1 running, 7 queued, 2 held, 1 frozen" in text
    assert "and 83 more" in text  # of the 24 lines
    assert "\\x1b]0;owned\\x07" in text
    assert "\x1b]0;" not in text
    assert text.count("Sluice at") >= 2


@pytest.mark.parametrize(("width", "owner_is_shown"), [(80, False), (160, True)])
def test_each_workflow_takes_one_line_of_a_screen_and_keeps_its_id(width: int, owner_is_shown: bool) -> None:
    ids = [f"{number:032x}" for number in range(30)]
    workflows = [{**WORKFLOW, "id": each, "owner": "0x" + "ab" * 20, "reason": "Unschedulable " * 9} for each in ids]
    screen = Console(width=width, height=24, file=StringIO())
    shown = {"environments": [ENVIRONMENT], "freezes": [], "workflows": workflows}
    screen.print(_screen(shown, "http://127.0.0.1:8050", "", *screen.size))
    assert isinstance(screen.file, StringIO)
    printed = screen.file.getvalue()
    lines = printed.splitlines()
    assert len(lines) == 24
    assert [line.split()[0] for line in lines[6:-1]] == ids[:17]
    assert lines[-1] == "… and 13 more"
    assert ("owner" in printed) is owner_is_shown


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (5, "5 s"), (310, "5 min 10 s"), (3600, "1 h 0 min"), (2 * 86_400 + 3 * 3600 + 59, "2 d 3 h")],
)
def test_an_age_is_told_in_its_two_largest_units(seconds: float, text: str) -> None:
    assert age(seconds) == text
