"""The results of a job are listed without a download, and a terminal shows how far a download is."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.fake_api import FakeApi, Sluice, job

from functions.cli import watch
from functions.cli.api_client import Client
from functions.cli.http_client import ApiError

FILES = (("a.csv", b"x" * 2048), ("b\x1b[2J.txt", b""))


def test_results_are_listed_with_size_and_type_and_cannot_control_the_terminal(sluice: Sluice, api: FakeApi) -> None:
    api.publish(*FILES)
    ended = sluice("results", "job1", "--url", api.url)
    assert ended.exit_code == 0
    assert [line.split() for line in ended.stdout.splitlines()] == [
        ["result", "size", "type"],
        ["a.csv", "2.0", "kB", "output"],
        ["b\\x1b[2J.txt", "0", "bytes", "output"],
    ]
    assert api.of("/getResult") == []


def test_listed_results_are_printed_as_json(sluice: Sluice, api: FakeApi) -> None:
    api.publish(FILES[0])
    listed = json.loads(sluice("results", "job1", "--json", "--url", api.url).stdout)
    assert listed == [{"filename": "a.csv", "filesize": 2048, "type": "output"}]


def test_a_job_without_results_says_its_state_on_stderr(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/compute", [job(status=41)])
    ended = sluice("results", "job1", "--url", api.url)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", "no results: Algorithm failed\n")


def test_a_terminal_shows_a_bar_while_results_are_saved(
    sluice: Sluice, api: FakeApi, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    api.publish(*FILES)
    ended = sluice("results", "job1", "--out", tmp_path / "out", "--url", api.url)
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "out" / "a.csv").read_bytes() == FILES[0][1]
    assert "\x1b[2J" not in ended.stderr


def test_a_job_that_the_server_no_longer_has_is_not_deleted(sluice: Sluice, api: FakeApi, key_file: Path) -> None:
    api.put("GET", "/compute", [job()])
    api.put("DELETE", "/compute", [])
    ended = sluice("delete", "job1", "--yes", "--url", api.url, "--key-file", key_file)
    assert (ended.exit_code, ended.stderr) == (2, f"Error: {api.url} has no job job1 of 0xOwner\n")


def test_a_key_that_cannot_be_stored_is_a_usage_error(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder of the key belongs")
    ended = sluice("list", "--url", api.url)
    assert ended.exit_code == 2
    assert "cannot store a new key (Not a directory); name a key with --key-file" in ended.stderr
    assert api.asked == []


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None], ids=["binary", "folder"])
def test_a_key_file_that_is_no_text_is_named(
    sluice: Sluice, api: FakeApi, tmp_path: Path, content: bytes | None
) -> None:
    file = tmp_path / "file"
    file.write_bytes(content) if content is not None else file.mkdir()
    for option in ("--key-file", "--admin-file"):
        ended = sluice("list", option, file, "--url", api.url)
        assert ended.exit_code == 2
        assert str(file) in ended.stderr
        assert "Traceback" not in ended.output


def test_a_server_that_fails_for_a_while_is_asked_again(api: FakeApi) -> None:
    client = Client(api.url, "0x" + "11" * 32)
    client.operator = False
    waits: list[float] = []

    def pause(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            api.put("GET", "/compute", [job(status=40)])
        if len(waits) == 5:
            api.put("GET", "/compute", [job()])

    api.put("GET", "/compute", {"error": "busy"}, 503)
    seen = list(watch.follow(client, "job1", pause=pause))
    assert [each["status"] for each in seen] == [40, 70]
    assert waits == sorted(waits)


def test_a_server_that_fails_for_long_is_given_up(api: FakeApi) -> None:
    client = Client(api.url, "0x" + "11" * 32)
    api.put("GET", "/info", {"error": "busy"}, 503)
    with pytest.raises(ApiError, match="busy"):
        list(watch.follow(client, "job1", -1, pause=lambda _: None))


def test_the_log_of_a_failed_stage_is_left_out_where_it_may_not_be_read(api: FakeApi) -> None:
    attempts = [
        {"stage": stage, "attempt": 1, "outcome": outcome, "created": "1.0", "ended": "2.0", "reason": ""}
        for stage, outcome in (("configure", "succeeded"), ("algorithm", "failed"))
    ]
    client = Client(api.url, "0x" + "11" * 32)
    api.put("GET", "/logs", {"error": "not yours"}, 401)
    assert watch.failed_stage_log(client, job(attempts=attempts)) == ("algorithm", b"")
    api.put("GET", "/logs", b"Traceback")
    assert watch.failed_stage_log(client, job(attempts=attempts)) == ("algorithm", b"Traceback")
    assert watch.failed_stage_log(client, job(attempts=attempts[:1])) == ("", b"")
