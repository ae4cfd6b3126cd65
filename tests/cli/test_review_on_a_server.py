"""What a checker sees of held results, and what the command signs and sends for a decision."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from support.fake_api import KEY, FakeApi, Sluice

from functions.ethereum import address, recover_text
from functions.trust.canonical import encode

FINDING = {"level": "review", "rule": "marks", "text": "387 marks, more than 100"}
LISTED = {
    "jobId": "j1",
    "environment": "lab",
    "policy": ["penguins", "weather"],
    "until": "2026-12-04T12:00:00Z",
    "findings": 3,
    "verdict": "review",
    "approvals": {"given": 1, "needed": 2},
}
PATHS = ("outputs/a.csv", "outputs/b.svg", "outputs/c.bin")
FILES = [
    {"index": n, "path": path, "size": 100 + n, "sha256": f"{n}" * 64, "blocked": n == 1}
    for n, path in enumerate(PATHS)
]
REPORT = {"notes": ["2 files were looked into"], "files": [{"path": PATHS[0], "findings": [FINDING]}]}
JOB = {**LISTED, "head": "cd" * 32, "files": FILES, "decisions": [], "report": REPORT}
PENDING = {"jobId": "j1", "state": "pending", "approvals": {"given": 1, "needed": 2}}


@pytest.fixture
def ask(sluice: Sluice, api: FakeApi, key_file: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Runs a command as the checker whose key is KEY, on a server that holds JOB."""
    monkeypatch.setenv("COLUMNS", "200")
    for variable in ("TERM", "TERM_PROGRAM", "KITTY_WINDOW_ID", "LC_TERMINAL", "TMUX"):
        monkeypatch.delenv(variable, raising=False)
    api.put("GET", "/held", {"held": [LISTED], "undelivered": []})
    api.put("GET", "/held/j1", JOB)
    api.put("POST", "/decisions", PENDING)

    def run(*arguments: object, input: str = "") -> Result:
        return sluice(*arguments, "--key-file", key_file, "--url", api.url, input=input)

    return run


def signed(api: FakeApi) -> dict[str, Any]:
    """The only decision that was sent. Its signature is the checker's."""
    (sent,) = api.of("/decisions")
    decision: dict[str, Any] = sent.params["decision"]
    assert recover_text(encode(decision).decode(), sent.params["signature"]).lower() == address(KEY).lower()
    return decision


# --- what waits -----------------------------------------------------------------------------


def test_each_held_job_is_a_row(ask: Any) -> None:
    ended = ask("held")
    assert ended.exit_code == 0
    header, row = ended.stdout.splitlines()
    assert header.split() == ["job", "environment", "policy", "until", "findings", "approvals"]
    cells = ["j1", "lab", "penguins, weather", "2026-12-04T12:00:00Z", "3 (review)", "1 of 2"]
    assert row.split() == " ".join(cells).split()


def test_events_that_nobody_took_are_shown_and_cannot_control_the_terminal(ask: Any, api: FakeApi) -> None:
    event = {"event": "hold.began", "about": "j1\x1b[2J", "since": "2026-11-27T12:00:00Z", "tries": 4}
    api.put("GET", "/held", {"held": [], "undelivered": [event]})
    ended = ask("held")
    assert "not delivered: hold.began of j1\\x1b[2J, since 2026-11-27T12:00:00Z (4 tries)" in ended.stdout
    assert "nothing is held" in ended.stderr


def test_the_lists_are_printed_as_json_as_they_came(ask: Any) -> None:
    assert json.loads(ask("held", "--json").stdout) == {"held": [LISTED], "undelivered": []}
    assert json.loads(ask("review", "j1", "--json").stdout) == JOB


def test_a_review_lists_the_files_what_was_found_in_them_and_the_approvals(ask: Any) -> None:
    assert ask("review", "j1").stdout.splitlines() == [
        "0  outputs/a.csv  100 bytes",
        f"   sha256 {'0' * 64}",
        "   review: marks: 387 marks, more than 100",
        "1  outputs/b.svg  101 bytes  BLOCKED",
        f"   sha256 {'1' * 64}",
        "2  outputs/c.bin  102 bytes",
        f"   sha256 {'2' * 64}",
        "note: 2 files were looked into",
        "until 2026-12-04T12:00:00Z; 1 of 2 approvals",
    ]


def test_a_review_shows_what_ran_on_what_and_who_has_decided(ask: Any, api: FakeApi) -> None:
    ran = {
        "algorithm": "a" * 64,
        "images": [f"sha256:{'b' * 64}"],
        "inputs": [{"path": "inputs/did/0\x1b[2J", "size": 7, "sha256": "c" * 64}],
    }
    files = [
        {"path": path, "sha256": "0" * 64, "verdict": "withhold" if n else "release"} for n, path in enumerate(PATHS)
    ]
    text = json.dumps({"verdict": "release", "files": files, "reason": "means only\x1b[2J"})
    decided = [{"by": "0xab", "at": "2026-11-27T12:00:00Z", "text": text}]
    api.put("GET", "/held/j1", {**JOB, "ran": ran, "decisions": decided})
    shown = ask("review", "j1").stdout.splitlines()
    assert shown[:3] == [
        f"algorithm  sha256 {'a' * 64}",
        f"image      sha256:{'b' * 64}",
        f"input      inputs/did/0\\x1b[2J  7 bytes  sha256 {'c' * 64}",
    ]
    assert shown[-2] == ("decided    0xab release, 2 of 3 files withheld, 2026-11-27T12:00:00Z: means only\\x1b[2J")


def test_a_review_without_checks_lists_the_files_alone(ask: Any, api: FakeApi) -> None:
    api.put("GET", "/held/j1", {**JOB, "report": None})
    shown = ask("review", "j1").stdout
    assert "outputs/a.csv" in shown
    assert "note" not in shown


# --- one file -------------------------------------------------------------------------------


def test_a_table_is_shown_in_part_and_says_so(ask: Any, api: FakeApi) -> None:
    table = "island,count\n" + "Dream,1\n" * 100
    api.put("GET", "/heldFile", table.encode())
    shown = ask("review", "j1", "--file", "0").stdout.splitlines()
    assert shown[0].split() == ["island", "count"]
    assert shown[1].split() == ["Dream", "1"]
    assert len(shown) < 40
    assert shown[-1].endswith(f"{len(table)} bytes in all")
    (asked,) = api.of("/heldFile")
    assert asked.params == {"jobId": "j1", "index": "0"}
    assert asked.headers["Authorization"].startswith("Checker ")


def test_a_short_table_is_shown_whole_and_a_text_line_by_line(ask: Any, api: FakeApi) -> None:
    api.put("GET", "/heldFile", b"island,count\nDream,1\n")
    assert len(ask("review", "j1", "--file", "0").stdout.splitlines()) == 2
    api.put("GET", "/heldFile", b"<svg>\n\x1b[2J</svg>\n")
    assert ask("review", "j1", "--file", "1").stdout.rstrip() == "<svg>\n\\x1b[2J</svg>"


def test_a_file_that_cannot_be_shown_is_left_to_another_program(ask: Any, api: FakeApi) -> None:
    api.put("GET", "/heldFile", b"\0" * 70)
    shown = ask("review", "j1", "--file", "2").stdout
    how = "sluice review j1 --file 2 --out FILE"
    assert shown == f"outputs/c.bin: 70 bytes, not shown here; see it with: {how}\n"


@pytest.mark.parametrize(
    ("variable", "value", "starts", "ends"),
    [
        ("KITTY_WINDOW_ID", "1", "\x1b_G", "\x1b\\"),
        ("TERM", "foot", "outputs/p.png: 16 bytes", "--out FILE, then img2sixel FILE"),
    ],
)
def test_a_terminal_that_shows_pictures_gets_them_and_others_a_hint(
    ask: Any, api: FakeApi, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, starts: str, ends: str
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    api.put("GET", "/held/j1", {**JOB, "files": [{**FILES[0], "path": "outputs/p.png"}]})
    api.put("GET", "/heldFile", b"\x89PNG\r\n\x1a\n" + bytes(8))
    shown = ask("review", "j1", "--file", "0").stdout.strip()
    assert shown.startswith(starts)
    assert shown.endswith(ends)


def test_a_file_is_written_for_its_reader_alone(ask: Any, api: FakeApi, tmp_path: Path) -> None:
    api.put("GET", "/heldFile", b"\0secret")
    ended = ask("review", "j1", "--file", "2", "--out", tmp_path / "c.bin")
    assert (ended.exit_code, ended.stdout) == (0, "")
    assert (tmp_path / "c.bin").read_bytes() == b"\0secret"
    assert (tmp_path / "c.bin").stat().st_mode & 0o777 == 0o600


def test_a_file_that_exists_is_kept_and_no_view_is_recorded(ask: Any, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "c.bin").write_text("mine")
    ended = ask("review", "j1", "--file", "2", "--out", tmp_path / "c.bin")
    assert ended.exit_code == 2
    assert f"--out: {tmp_path / 'c.bin'} cannot be written: File exists" in ended.stderr
    assert (tmp_path / "c.bin").read_text() == "mine"
    assert api.of("/heldFile") == []


def test_a_wrong_number_and_a_missing_one_are_named(ask: Any, api: FakeApi, tmp_path: Path) -> None:
    ended = ask("review", "j1", "--file", "7")
    assert (ended.exit_code, api.of("/heldFile")) == (2, [])
    assert "job j1 holds no file 7; `sluice review j1` lists them" in ended.stderr
    ended = ask("review", "j1", "--out", tmp_path / "x")
    assert (ended.exit_code, "--out: name the file with --file" in ended.stderr) == (2, True)


def test_the_servers_reason_is_told_where_a_file_is_gone(ask: Any, api: FakeApi) -> None:
    api.put("GET", "/heldFile", {"error": "the key of the held files is deleted"}, status=410)
    ended = ask("review", "j1", "--file", "0")
    assert (ended.exit_code, ended.stderr) == (2, "Error: the key of the held files is deleted\n")


# --- decisions ------------------------------------------------------------------------------


def test_a_release_names_each_file_and_keeps_in_what_is_blocked_or_withheld(ask: Any, api: FakeApi) -> None:
    ended = ask("release", "j1", "--withhold", PATHS[2], "--reason", "counts above 10", input="y\n")
    assert ended.exit_code == 0
    decision = signed(api)
    assert [(each["path"], each["sha256"], each["verdict"]) for each in decision["files"]] == [
        (PATHS[0], "0" * 64, "release"),
        (PATHS[1], "1" * 64, "withhold"),
        (PATHS[2], "2" * 64, "withhold"),
    ]
    assert {key: decision[key] for key in ("job", "head", "verdict", "reason", "by")} == {
        "job": "j1",
        "head": "cd" * 32,
        "verdict": "release",
        "reason": "counts above 10",
        "by": address(KEY).lower(),
    }
    assert f"Sign as {address(KEY)}: release job j1?" in ended.stderr
    assert "release   outputs/a.csv  0000000000000000…" in ended.stderr
    assert "Job j1 waits for further decisions: 1 of 2 approvals are given." in ended.stdout


def test_a_rejection_withholds_every_file(ask: Any, api: FakeApi) -> None:
    api.put("POST", "/decisions", {**PENDING, "state": "rejected"})
    ended = ask("reject", "j1", "--reason", "rows of patients", "--yes")
    assert (ended.exit_code, ended.stdout) == (0, "Job j1 is rejected: nothing leaves.\n")
    assert {each["verdict"] for each in signed(api)["files"]} == {"withhold"}


@pytest.mark.parametrize("answer", ["n\n", "", "\n"])
def test_nothing_is_signed_without_a_yes(ask: Any, api: FakeApi, answer: str) -> None:
    ended = ask("release", "j1", "--reason", "r", input=answer)
    assert ended.exit_code == 130
    assert ended.stderr.endswith("Nothing was changed.\n")
    assert api.of("/decisions") == []


def test_a_withheld_file_that_the_job_does_not_hold_is_named(ask: Any, api: FakeApi) -> None:
    ended = ask("release", "j1", "--withhold", "outputs/d.csv", "--reason", "r", "--yes")
    assert (ended.exit_code, api.of("/decisions")) == (2, [])
    assert "--withhold: job j1 holds no file outputs/d.csv; `sluice review j1` lists them" in ended.stderr


def test_a_decision_that_does_not_count_exits_with_2_and_the_servers_reason(ask: Any, api: FakeApi) -> None:
    api.put("POST", "/decisions", {"error": "the policy does not list this checker"}, status=403)
    ended = ask("release", "j1", "--reason", "r", "--yes")
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.endswith("Error: the policy does not list this checker\n")


@pytest.mark.parametrize(
    ("command", "method", "path", "body"),
    [
        (["release", "j1", "--again"], "POST", "/release", {"jobId": "j1"}),
        (["reject", "j1", "--as-operator"], "POST", "/decisions", {"jobId": "j1", "verdict": "reject"}),
        (["revoke", "j1"], "POST", "/revoke", {"jobId": "j1"}),
        (["freeze", "all", "--reason", "r"], "POST", "/freeze", {"scope": "all", "reason": "r"}),
        (["unfreeze", "all"], "DELETE", "/freeze", {"scope": "all"}),
    ],
)
def test_an_operators_command_asks_for_what_it_says(
    ask: Any, api: FakeApi, tmp_path: Path, command: list[str], method: str, path: str, body: dict[str, str]
) -> None:
    (tmp_path / "admin").write_text("secret\n")
    answer = {"jobId": "j1", "verdict": "applied", "scope": "all", "frozen": True}
    api.put(method, path, answer)
    ended = ask(*command, "--admin-file", tmp_path / "admin", "--json")
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout) == answer
    (asked,) = api.of(path)
    assert (asked.method, asked.params, asked.headers["Admin"]) == (method, body, "secret")
