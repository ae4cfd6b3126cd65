"""Commands that talk to a server: their requests, their output and their exit codes."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest
from support.fake_api import KEY, OWNER, FakeApi, Sluice, job

from functions.cli.api_client import Client
from functions.ethereum import address, recover


@pytest.mark.parametrize(
    ("seen", "code", "text"),
    [
        (job(), 0, "Job finished"),
        (job(status=40), 0, "Running algorithm"),
        (job(status=41, reason="AlgorithmExit:3", terminationDetails={"OOMKilled": False, "exitCode": 3}), 1, "Exit:3"),
        (job(stopreq=1), 1, "Stopped"),
        (job(stopreq=2, reason="DeadlineExceeded"), 1, "Timed out"),
        (job(removed=1), 0, "results removed"),
    ],
)
def test_status_shows_the_state_of_a_job_and_exits_with_1_if_it_failed(
    sluice: Sluice, api: FakeApi, seen: object, code: int, text: str
) -> None:
    api.put("GET", "/compute", [seen])
    ended = sluice("status", "job1", "--url", api.url)
    assert (ended.exit_code, text in ended.stdout) == (code, True), ended.output


def test_status_shows_operators_the_progress_of_a_stage(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/compute", [job(status=40)])
    told = {"files": 1, "filesTotal": 3, "bytes": 2_000_000, "bytesTotal": None}
    api.put("GET", "/info", job(status=40, progress=told))
    assert "1 of 3 files, 2.0 MB\n" in sluice("status", "job1", "--url", api.url).stdout
    told |= {"bytesTotal": 8_000_000}
    assert "1 of 3 files, 2.0 MB of 8.0 MB\n" in sluice("status", "job1", "--url", api.url).stdout
    assert json.loads(sluice("status", "job1", "--json", "--url", api.url).stdout)["progress"] == told


def test_status_tells_operators_that_results_are_held(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/compute", [job(status=40)])
    api.put("GET", "/info", job(status=40, phase="held"))
    assert "held        until a decision: sluice review job1\n" in sluice("status", "job1", "--url", api.url).stdout
    api.put("GET", "/info", {"error": "Admin header is empty."}, 400)
    assert "held" not in sluice("status", "job1", "--url", api.url).stdout


def test_status_shows_what_a_stage_waits_for(sluice: Sluice, api: FakeApi) -> None:
    waiting = {"reason": "Unschedulable", "since": "1795312226.446271"}
    api.put("GET", "/compute", [job(status=40, waiting=waiting)])
    assert "waiting for Unschedulable, since 2026-11-2" in sluice("status", "job1", "--url", api.url).stdout
    assert json.loads(sluice("status", "job1", "--json", "--url", api.url).stdout)["waiting"] == waiting


def test_status_shows_the_place_in_the_queue(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/compute", [job(status=1, queuePosition=7)])
    assert "queue position 7\n" in sluice("status", "job1", "--url", api.url).stdout


@pytest.mark.parametrize(
    ("command", "path", "value"),
    [
        (["status", "job1"], "/compute", [job()]),
        (["list"], "/compute", [job()]),
        (["list", "--running"], "/runningjobs", [{"jobId": "job1"}]),
        (["environments"], "/environments", [{"id": "ocean-compute"}]),
        (["history", "job1"], "/history", [{"step": 1}]),
        (["dead-letters"], "/dead-letters", []),
    ],
)
def test_json_output_is_the_answer_of_the_server(
    sluice: Sluice, api: FakeApi, command: list[str], path: str, value: object
) -> None:
    api.put("GET", path, value)
    ended = sluice(*command, "--json", "--url", api.url)
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout) == (value[0] if command[0] == "status" else value)  # type: ignore[index]


def test_an_empty_list_names_the_owner(sluice: Sluice, api: FakeApi, key_file: Path) -> None:
    api.put("GET", "/compute", [])
    api.put("GET", "/runningjobs", [])
    asked = ("--key-file", key_file, "--url", api.url)
    ended = sluice("list", *asked)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", f"no jobs of {address(KEY)}\n")
    assert sluice("list", "--owner", "0xYou", *asked).stderr == "no jobs of 0xYou\n"
    assert sluice("list", "--running", *asked).stderr == "no jobs are running\n"
    assert sluice("list", "--json", *asked).stdout == "[]\n"


def test_an_unknown_job_is_a_usage_error(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/compute", [])
    ended = sluice("status", "nope", "--url", api.url)
    assert (ended.exit_code, "has no job nope" in ended.stderr) == (2, True)


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt(), 130), (ZeroDivisionError("secret"), 70)])
def test_ctrl_c_exits_with_130_and_an_internal_error_with_70_and_no_stack_trace(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int
) -> None:
    def broken(self: object) -> None:
        raise raised

    monkeypatch.setattr("functions.cli.api_client.Client.environments", broken)
    ended = sluice("environments")
    assert ended.exit_code == code
    assert "secret" not in ended.output


def test_a_key_that_is_no_checkers_is_named_when_nothing_is_held_for_it(
    sluice: Sluice, api: FakeApi, key_file: Path, tmp_path: Path
) -> None:
    api.put("GET", "/held", {"held": [], "undelivered": []})
    api.put("GET", "/held/j1", {"error": "no results of a job j1 are held"}, status=404)
    secret = "the operator's secret with --admin-file (a file with any text, on this laptop)"
    keys = f"a checker's key with --key-file, or {secret}"
    checker = f" that {address(KEY)} may see; name {keys}\n"
    given = ("--key-file", key_file, "--url", api.url)
    ended = sluice("held", *given)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", f"nothing is held{checker}")
    ended = sluice("review", "j1", *given)
    assert (ended.exit_code, ended.stderr) == (2, f"Error: {api.url} holds no results of job j1{checker}")
    (tmp_path / "admin").write_text("secret")
    assert sluice("held", *given, "--admin-file", tmp_path / "admin").stderr == "nothing is held\n"


def test_the_hint_that_any_admin_file_will_do_is_for_this_machine_only() -> None:
    client = Client("https://sluice.example", KEY, None)
    assert client.seen_by.endswith("or the operator's secret with --admin-file")


def test_a_reader_of_stdout_that_goes_away_is_no_internal_error(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(self: object) -> None:
        raise BrokenPipeError(errno.EPIPE, "Broken pipe")

    monkeypatch.setattr("functions.cli.api_client.Client.environments", gone)
    ended = sluice("environments")
    assert (ended.exit_code, ended.stderr) == (1, "")


@pytest.mark.parametrize("arguments", [["status"], ["nothing"], ["list", "--url", "ftp://x"], ["run", "missing.json"]])
def test_a_usage_error_exits_with_2(sluice: Sluice, arguments: list[str]) -> None:
    assert sluice(*arguments).exit_code == 2


def test_requests_are_signed_over_owner_job_and_nonce(sluice: Sluice, api: FakeApi, key_file: Path) -> None:
    api.put("GET", "/compute", [job(status=40)])
    api.put("PUT", "/compute", [job(stopreq=1)])
    ended = sluice("stop", "job1", "--key-file", key_file, "--url", api.url)
    assert ended.exit_code == 0, ended.output
    for asked, owner in zip(api.of("/compute"), (None, OWNER), strict=True):
        params = asked.params
        assert recover(f"{owner}job1{params['nonce']}", params["providerSignature"]) == address(KEY).lower()


def test_the_users_key_is_made_on_first_use_then_reused_and_readable_by_the_user_only(
    sluice: Sluice, api: FakeApi, tmp_path: Path
) -> None:
    api.put("GET", "/compute", [])
    sluice("list", "--url", api.url)
    sluice("list", "--url", api.url)
    first, second = (asked.params["owner"] for asked in api.of("/compute"))
    assert first == second
    file = tmp_path / "home" / ".config" / "sluice" / "key"
    assert file.stat().st_mode & 0o777 == 0o600


def test_an_invalid_key_is_refused_and_not_shown(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("0xnotakey")
    ended = sluice("list", "--key-file", tmp_path / "bad", "--url", api.url)
    assert ended.exit_code == 2
    assert "notakey" not in ended.output


def test_the_admin_secret_is_read_from_a_file(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "admin").write_text("open sesame\n")
    api.put("GET", "/runningjobs", [])
    sluice("list", "--running", "--admin-file", tmp_path / "admin", "--url", api.url)
    assert api.asked[0].headers["Admin"] == "open sesame"


def test_delete_asks_for_confirmation(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/compute", [job()])
    api.put("DELETE", "/compute", [job(removed=1)])
    for answer in ("n\n", ""):
        ended = sluice("delete", "job1", "--url", api.url, input=answer)
        assert (ended.exit_code, "Nothing was changed" in ended.stderr) == (130, True)
    assert api.asked == []
    assert sluice("delete", "job1", "--yes", "--url", api.url).exit_code == 0
    assert [asked.method for asked in api.asked] == ["GET", "DELETE"]


def test_migrate_upgrades_a_database_and_changes_nothing_the_second_time(
    sluice: Sluice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/record.db")
    assert "applied" in sluice("migrate").stdout
    assert sluice("migrate").stdout == "the database is up to date\n"


@pytest.mark.parametrize("command", ["migrate", "sweep"])
def test_a_missing_setting_is_named_in_the_error(sluice: Sluice, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    for variable in ("DATABASE_URL", "DATABASE_URL_FILE", "POSTGRES_HOST"):
        monkeypatch.delenv(variable, raising=False)
    ended = sluice(command)
    assert (ended.exit_code, "DATABASE_URL" in ended.stderr) == (2, True), ended.output
