"""Text of servers and algorithms cannot control the terminal: everywhere, control characters become visible escapes."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.fake_api import FakeApi, Sluice, job

from functions.cli.command_errors import printable

ROOT = Path(__file__).parents[2]
# Sets the title, clears the screen (also by one C1 character), reverses the writing direction, moves the cursor, ends
# the line; then markup and an emoji code of Rich, which must not be interpreted.
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202e\r\x08\u2028\x85[bold]:bomb:"
VISIBLE = "\\x1b]0;owned\\x07\\x1b[2J\\x9b2J\\u202e\\r\\x08\\u2028\\x85[bold]:bomb:"
ATTEMPT = {"stage": "algorithm", "attempt": 1, "created": "1.0", "ended": "2.5", "outcome": "failed", "reason": "why"}
FAILED = job(
    status=41,
    reason="why",
    attempts=[ATTEMPT],
    waiting={"reason": "for it", "since": "1.0"},
    terminationDetails={"OOMKilled": False, "exitCode": "3"},
    results=[{"filename": "a.txt", "filesize": 2, "type": "output"}],
    warnings=["w"],
)
RUNNING = job(
    status=40,
    waiting={"reason": "for it", "since": "1.0"},
    progress={"files": "1", "filesTotal": "2", "bytes": 1, "bytesTotal": None},
    attempts=[ATTEMPT | {"ended": None, "outcome": None}],
)
NOT_DELIVERED = {"event": "e", "about": "a", "since": "s", "tries": "t"}
NUMBERS = {  # times and sizes, which are parsed
    "since",
    "created",
    "ended",
    "dateCreated",
    "dateFinished",
    "at",
    "creation_time",
    "size_bytes",
}
ANSWERS = {
    "/compute": [FAILED],
    "/runningjobs": [RUNNING],
    "/console/api/overview": {"environments": [{"id": "e", "slots": "1"}], "freezes": []},
    "/console/api/workflows": {
        "workflows": [
            dict.fromkeys(("id", "environment", "owner", "state", "phase", "attempt", "reason"), "x")
            | {"created": "1.0"}
        ]
    },
    "/history": [{"step": "1", "at": "1.0", "event": "e", "after": "a", "reason": "r", "cause": "c"}],
    "/dead-letters": [{"id": "1", "reason": "r"}],
    "/environments": [
        dict.fromkeys(
            ("id", "cpuNumber", "ramGB", "gpuNumber", "maxJobDuration", "currentJobs", "maxJobs", "desc"), "x"
        )
    ],
}
# A held job and a task of GA4GH TES. In the middle of a text, HOSTILE also stands before what is cut off.
HELD = {
    "jobId": "j",
    "environment": "e",
    "policy": ["p"],
    "until": "u",
    "head": "h",
    "findings": "1",
    "verdict": "review",
    "approvals": {"given": "0", "needed": "1"},
    "releaseFailed": {"at": "now", "reason": "r"},
    "files": [{"index": 0, "path": "p", "size": "1", "sha256": HOSTILE, "blocked": False}],
    "report": {"files": [{"path": "p", "findings": [{"level": "l", "rule": "r", "text": "t"}]}], "notes": ["n"]},
    "ran": {
        "algorithm": "a",
        "images": ["i"],
        "inputs": [{"path": "p", "size": "1", "sha256": "s"}],
    },
    "state": "released",
}
DECIDED = {"by": "b", "at": "2026-01-01"}
DECISION = {"verdict": "v", "reason": "r", "files": [{"verdict": "v"}]}
TASK = {
    "id": "t",
    "state": "s",
    "name": "n",
    "creation_time": "2026-01-01T00:00:00+00:00",
    "executors": [{"command": ["c"]}],
    "logs": [
        {
            "logs": [{"stdout": "o", "stderr": "e"}],
            "outputs": [{"url": "u", "size_bytes": "1"}],
            "system_logs": ["l"],
        }
    ],
}
TASKS = "/ga4gh/tes/v1/tasks"


def hostile(value: Any, key: str = "") -> Any:
    """A copy in which each text ends with HOSTILE, also the keys of dead letters."""
    match value:
        case dict():
            return {_key(name, value): hostile(item, name) for name, item in value.items()}
        case list():
            return [hostile(item) for item in value]
        case str() if key not in NUMBERS:
            return value + HOSTILE
    return value


def _key(name: str, of: dict[str, Any]) -> str:
    return name + HOSTILE if name == "reason" and set(of) == {"id", "reason"} else name


@pytest.fixture
def evil(api: FakeApi) -> FakeApi:
    for path, answer in ANSWERS.items():
        api.put("GET", path, hostile(answer))
    for method in ("PUT", "POST", "DELETE"):
        api.put(method, "/compute", hostile([FAILED]))
    api.put("GET", "/info", hostile(FAILED))
    api.put("GET", "/held", {"held": [hostile(HELD)], "undelivered": [hostile(NOT_DELIVERED)]})
    text = json.dumps(hostile(DECISION))
    for method, path in (("GET", "/held/job1"), ("POST", "/decisions"), ("POST", "/release"), ("POST", "/revoke")):
        api.put(method, path, hostile(HELD) | {"decisions": [hostile(DECIDED) | {"text": text}]})
    api.put("POST", "/freeze", hostile({"scope": "all"}))
    api.put("DELETE", "/freeze", hostile({"scope": "all"}))
    api.put("GET", TASKS, {"tasks": [hostile(TASK)]})
    api.put("POST", TASKS, hostile({"id": "t"}))
    api.put("GET", f"{TASKS}/t", hostile(TASK))
    api.put("POST", f"{TASKS}/t:cancel", {})
    api.put("GET", "/logs", HOSTILE.encode() + b"\nsecond\ttab")
    api.results = [("a.txt", b"hi")]
    return api


@pytest.fixture
def document(tmp_path: Path) -> Path:
    algorithm = {"rawcode": "true", "container": {"entrypoint": "sh $ALGO", "image": "busybox"}}
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps({"stages": [{"input": [], "algorithm": algorithm, "compute": {}, "output": {}}]}))
    return file


def invisible(text: str) -> set[str]:
    return {c for c in text if c != "\n" and printable(c) != c}


COMMANDS = [
    ["status", "job1"],
    ["list"],
    ["list", "--running"],
    ["environments"],
    ["history", "job1"],
    ["dead-letters"],
    ["top"],
    ["results", "job1"],
    ["results", "job1", "--out", "out"],
    ["stop", "job1"],
    ["delete", "job1", "--yes"],
    ["submit", "workflow.json"],
    ["submit", "workflow.json", "--wait"],
    ["held"],
    ["review", "job1"],
    ["release", "job1", "--reason", "r", "--yes"],
    ["reject", "job1", "--yes"],
    ["tes", "submit", "workflow.json"],
    ["tes", "get", "t"],
    ["tes", "list"],
    ["tes", "cancel", "t"],
]


@pytest.mark.parametrize("json_flag", [[], ["--json"]])
@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_no_command_prints_a_control_character_of_the_server(
    sluice: Sluice, evil: FakeApi, document: Path, command: list[str], json_flag: list[str]
) -> None:
    ended = sluice(*command, *json_flag, "--url", evil.url)
    assert ended.exit_code in (0, 1), ended.output
    assert "owned" in ended.output
    assert invisible(ended.output) == set()


def test_json_output_keeps_the_text_of_the_server(sluice: Sluice, evil: FakeApi) -> None:
    ended = sluice("environments", "--json", "--url", evil.url)
    assert json.loads(ended.stdout) == hostile(ANSWERS["/environments"])


@pytest.mark.parametrize("command", COMMANDS[:4], ids=" ".join)
@pytest.mark.parametrize("status", [400, 404, 500])
def test_an_error_of_the_server_is_shown_with_visible_escapes(
    sluice: Sluice, api: FakeApi, command: list[str], status: int
) -> None:
    for path in ANSWERS:
        api.put("GET", path, {"error": "no" + HOSTILE}, status)
    ended = sluice(*command, "--url", api.url)
    assert VISIBLE in ended.stderr
    assert invisible(ended.output) == set()


def test_an_endless_error_of_the_server_is_cut(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/environments", {"error": "x" * 1_000_000}, 400)
    assert len(sluice("environments", "--url", api.url).stderr) < 3000


def test_a_document_with_control_characters_in_its_keys_is_refused_with_visible_escapes(
    sluice: Sluice, tmp_path: Path
) -> None:
    (tmp_path / "bad.json").write_text(json.dumps({"stages": [{"input": [{"id": "x", "url": HOSTILE}]}]}))
    ended = sluice("submit", tmp_path / "bad.json")
    assert (ended.exit_code, VISIBLE in ended.stderr) == (2, True)
    assert invisible(ended.output) == set()


def test_a_result_is_saved_under_a_name_without_control_characters(
    sluice: Sluice, evil: FakeApi, tmp_path: Path
) -> None:
    assert sluice("results", "job1", "--out", "out", "--url", evil.url).exit_code == 0
    assert [path.name for path in (tmp_path / "out").rglob("*.txt*")] == ["a.txt" + VISIBLE]


def test_a_log_goes_to_a_pipe_unchanged(sluice: Sluice, evil: FakeApi) -> None:
    assert sluice("logs", "job1", "--url", evil.url).stdout_bytes == HOSTILE.encode() + b"\nsecond\ttab"


@pytest.mark.parametrize("command", [["logs", "job1"], ["status", "job1"], ["submit", "workflow.json", "--wait"]])
def test_a_terminal_gets_visible_escapes(evil: FakeApi, document: Path, tmp_path: Path, command: list[str]) -> None:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "functions.cli.main", *command, "--url", evil.url],
        cwd=tmp_path,
        env={**os.environ, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "500"},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    printed = b""
    try:
        while chunk := os.read(ours, 1 << 16):
            printed += chunk
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(ours)
        process.wait()
    text = printed.decode()
    assert VISIBLE.split("\\r")[0] in text
    assert not any(sequence in text for sequence in ("\x1b]", "\x1b[2J", "\x9b", "\u202e", "\x07", "\x85"))
