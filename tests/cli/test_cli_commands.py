"""Commands that talk to a server: their requests, their output and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.fake_api import OWNER, FakeApi, job

from functions.cli.api_client import Client
from functions.cli.watch import follow
from functions.ethereum import address, recover

Sluice = Callable[..., Result]
KEY = "0x" + "11" * 32
WORKFLOW = {
    "stages": [
        {
            "input": [],
            "algorithm": {"rawcode": "true", "container": {"entrypoint": "sh $ALGO", "image": "busybox"}},
            "compute": {},
            "output": {},
        }
    ]
}


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "key"
    file.write_text(KEY + "\n")
    return file


@pytest.fixture
def document(tmp_path: Path) -> Path:
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(WORKFLOW))
    return file


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


@pytest.mark.parametrize(
    "command", [["status", "j1"], ["list"], ["stop", "j1"], ["logs", "j1"], ["results", "j1"], ["environments"]]
)
def test_an_unreachable_server_gives_exit_code_3_and_a_message_with_advice(sluice: Sluice, command: list[str]) -> None:
    ended = sluice(*command, "--url", "http://127.0.0.1:9")
    assert ended.exit_code == 3
    assert "sluice up" in ended.stderr
    assert "Traceback" not in ended.output


@pytest.mark.parametrize("answer", [b"<html>", b'"text"', b"[1]", b"null", b"[" * 100_000, b"\xff"])
def test_an_answer_of_something_else_than_sluice_gives_exit_code_3(sluice: Sluice, api: FakeApi, answer: bytes) -> None:
    api.put("GET", "/environments", answer)
    ended = sluice("environments", "--url", api.url)
    assert (ended.exit_code, "not a Sluice server" in ended.stderr) == (3, True), ended.output


def test_a_server_that_redirects_is_named_with_the_other_url(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/environments", {}, 302)
    ended = sluice("environments", "--url", api.url)
    assert (ended.exit_code, "redirects to" in ended.stderr) == (3, True), ended.output


def test_the_log_of_a_deleted_job_is_said_to_be_removed(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/logs", {"error": "Admin header is empty."}, 400)
    api.put("GET", "/compute", [job(removed=1)])
    ended = sluice("logs", "job1", "--url", api.url)
    assert (ended.exit_code, "was removed with the results" in ended.stderr) == (2, True), ended.output


@pytest.mark.parametrize(("status", "code"), [(400, 2), (401, 2), (404, 2), (500, 3), (503, 3)])
def test_an_error_of_the_server_is_shown_in_its_own_words(sluice: Sluice, api: FakeApi, status: int, code: int) -> None:
    api.put("GET", "/environments", {"error": "not today"}, status)
    ended = sluice("environments", "--url", api.url)
    assert ended.exit_code == code
    assert "not today" in ended.stderr


def test_an_address_without_a_sluice_server_is_named_in_the_error(sluice: Sluice, api: FakeApi) -> None:
    ended = sluice("environments", "--url", f"{api.url}/foo")
    assert ended.exit_code == 2
    assert f"{api.url}/foo/api/v1/operator/environments: no such path" in ended.stderr
    ended = sluice("list", "--url", f"{api.url}/foo")
    assert "Signature" not in ended.stderr
    ended = sluice("environments", "--url", api.url.replace("http:", "https:"))
    assert (ended.exit_code, "the TLS handshake failed" in ended.stderr) == (3, True)


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


def test_submit_prints_the_job_id_and_sends_a_signed_request(
    sluice: Sluice, api: FakeApi, key_file: Path, document: Path
) -> None:
    api.put("GET", "/environments", [{"id": "ocean-compute"}])
    api.put("POST", "/compute", [job(status=40)])
    ended = sluice("submit", document, "--key-file", key_file, "--url", api.url)
    assert (ended.exit_code, ended.stdout) == (0, "job1\n"), ended.output
    body = api.of("/compute")[0].params
    assert body["workflow"] == WORKFLOW
    assert (body["environment"], body["owner"]) == ("ocean-compute", address(KEY))
    assert recover(f"{body['owner']}{body['nonce']}", body["providerSignature"]) == address(KEY).lower()


def test_submit_requires_an_environment_if_the_server_offers_several(
    sluice: Sluice, api: FakeApi, document: Path
) -> None:
    api.put("GET", "/environments", [{"id": "large"}, {"id": "small"}])
    ended = sluice("submit", document, "--url", api.url)
    assert (ended.exit_code, "large, small" in ended.stderr) == (2, True)


def test_an_unknown_environment_is_refused_with_a_list_of_those_offered(
    sluice: Sluice, api: FakeApi, document: Path
) -> None:
    api.put("GET", "/environments", [{"id": "large"}, {"id": "small"}])
    api.put("POST", "/compute", {"error": "Environment invalid or does not exist"}, 400)
    ended = sluice("submit", document, "--environment", "nope", "--url", api.url)
    assert ended.exit_code == 2
    assert f"{api.url} has no environment nope; it offers large, small" in ended.stderr
    ended = sluice("submit", document, "--environment", "small", "--url", api.url)
    assert (ended.exit_code, "Environment invalid or does not exist" in ended.stderr) == (2, True)


def test_submitting_to_a_paused_environment_warns_that_the_job_waits(
    sluice: Sluice, api: FakeApi, document: Path
) -> None:
    api.put("GET", "/environments", [{"id": "closed", "maxJobs": 0}])
    api.put("POST", "/compute", [job(status=40)])
    ended = sluice("submit", document, "--url", api.url)
    assert (ended.exit_code, ended.stdout) == (0, "job1\n")
    assert "environment closed is paused (its maxJobs is 0)" in ended.stderr


def test_a_server_without_environments_is_named(sluice: Sluice, api: FakeApi, document: Path) -> None:
    api.put("GET", "/environments", [])
    ended = sluice("submit", document, "--url", api.url)
    assert (ended.exit_code, "it offers none" in ended.stderr) == (2, True)


@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_missing_document_is_named(sluice: Sluice, command: str) -> None:
    ended = sluice(command, "nofile.json")
    assert (ended.exit_code, ended.stderr) == (2, "Error: nofile.json: No such file or directory\n")


def test_submit_checks_the_document_before_it_asks_the_server(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"stages": []}')
    ended = sluice("submit", tmp_path / "bad.json", "--url", api.url)
    assert (ended.exit_code, "$.stages" in ended.stderr, api.asked) == (2, True, [])


def test_waiting_for_a_failed_job_shows_stages_reason_and_log_and_exits_with_1(
    sluice: Sluice, api: FakeApi, document: Path
) -> None:
    attempt = {"stage": "algorithm", "attempt": 1, "created": "1.0", "ended": "2.5", "outcome": "failed"}
    api.put("GET", "/environments", [{"id": "ocean-compute"}])
    api.put("POST", "/compute", [job(status=40)])
    failed = job(status=41, reason="AlgorithmExit:3", attempts=[{**attempt, "reason": "AlgorithmExit:3"}])
    api.put("GET", "/info", failed)
    api.put("GET", "/logs", b"no such column\n\x1b[2Jhidden")
    ended = sluice("submit", document, "--wait", "--url", api.url)
    assert (ended.exit_code, ended.stdout) == (1, "job1\n")
    assert "1.50 s" in ended.stderr
    assert "AlgorithmExit:3" in ended.stderr
    assert "no such column" in ended.stderr
    assert "\x1b" not in ended.stderr  # no colour outside a terminal, and no escape sequence of the algorithm


class FakeSleep:
    """Replaces time.sleep: returns at once, and records the seconds."""

    def __init__(self, then: Callable[[], None] = lambda: None, most: int = 1) -> None:
        self.seconds: list[float] = []
        self._then, self._most = then, most

    def __call__(self, seconds: float) -> None:
        assert len(self.seconds) < self._most, "it still waits after the job has ended"
        self.seconds.append(seconds)
        self._then()


def test_without_operator_rights_submit_waits_with_the_status_route(
    sluice: Sluice, api: FakeApi, document: Path
) -> None:
    api.put("GET", "/environments", [{"id": "ocean-compute"}])
    api.put("POST", "/compute", [job(status=40)])
    api.put("GET", "/info", {"error": "Admin header is empty."}, 400)
    api.put("GET", "/compute", [job()])
    ended = sluice("submit", document, "--wait", "--url", api.url)
    assert (ended.exit_code, "Job finished" in ended.stderr) == (0, True), ended.output


def test_the_operators_route_is_not_asked_again_after_a_refusal(api: FakeApi) -> None:
    api.put("GET", "/info", {"error": "Admin header is empty."}, 400)
    api.put("GET", "/compute", [job(status=40)])
    sleep = FakeSleep(then=lambda: api.put("GET", "/compute", [job()]))
    assert [seen["status"] for seen in follow(Client(api.url, KEY), "job1", pause=sleep)] == [40, 70]
    assert (len(api.of("/info")), len(api.of("/compute"))) == (1, 2)


@pytest.mark.parametrize(
    ("url", "first", "longest"),
    [
        ("http://127.0.0.1:8050", 0.1, 0.5),
        ("http://localhost", 0.1, 0.5),
        ("http://[::1]:8050/", 0.1, 0.5),
        ("https://sluice.example", 1, 5),
        ("http://10.0.0.1:8050", 1, 5),
    ],
)
def test_polling_slows_down_and_is_slower_for_a_remote_server(
    monkeypatch: pytest.MonkeyPatch, url: str, first: float, longest: float
) -> None:
    client, sleep = Client(url, KEY), FakeSleep(most=60)
    monkeypatch.setattr(client, "info", lambda job_: job(status=40 if len(sleep.seconds) < 60 else 70))
    assert [seen["status"] for seen in follow(client, "job1", pause=sleep)] == [40, 70]
    assert sleep.seconds[0] == first
    assert max(sleep.seconds) == sleep.seconds[-1] == longest
    assert sleep.seconds == sorted(sleep.seconds)
    assert sum(pause < longest for pause in sleep.seconds) > 5


def test_without_operator_rights_logs_prints_the_published_log(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/logs", {"error": "Admin header is empty."}, 400)
    api.publish(("algorithm.log", b"hello\n"), type="algorithmLog")
    ended = sluice("logs", "job1", "--url", api.url)
    assert (ended.exit_code, ended.stdout) == (0, "hello\n"), ended.output
    ended = sluice("logs", "job1", "--json", "--url", api.url)
    assert json.loads(ended.stdout) == {"jobId": "job1", "stage": "algorithm", "log": "hello\n"}


@pytest.mark.parametrize("refusal", [400, 401])
def test_the_log_of_a_running_job_is_said_to_come_later(sluice: Sluice, api: FakeApi, refusal: int) -> None:
    api.put("GET", "/logs", {"error": "Admin header is empty."}, refusal)
    api.put("GET", "/compute", [job(status=40)])
    ended = sluice("logs", "job1", "--url", api.url)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "job job1 is still running (Running algorithm)" in ended.stderr


@pytest.mark.parametrize(("status", "code", "said"), [(40, 1, "is still running"), (70, 2, "No log of publish")])
def test_operators_are_told_whether_a_missing_log_may_still_come(
    sluice: Sluice, api: FakeApi, status: int, code: int, said: str
) -> None:
    api.put("GET", "/logs", {"error": "No log of publish for job job1"}, 404)
    api.put("GET", "/compute", [job(status=status)])
    ended = sluice("logs", "job1", "--stage", "publish", "--url", api.url)
    assert (ended.exit_code, said in ended.stderr) == (code, True), ended.output


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://", "no valid host and port"),
        ("https://:443", "no valid host and port"),
        ("http://a b", "no valid host and port"),
        ("http://[", "Invalid IPv6 URL"),
        ("http://x:99999", "Port out of range"),
        ("http://x:http", "Port could not be cast"),
        ("http://user:secret@x", "a user name in the URL is not supported"),
        ("http://x/?a=b", "has a query or a fragment"),
        ("localhost:8050", "does not begin with http://"),
        ("", "does not begin with http://"),
    ],
)
@pytest.mark.parametrize("given", ["option", "variable"])
def test_an_invalid_server_url_is_a_usage_error_that_says_what_is_wrong(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch, url: str, said: str, given: str
) -> None:
    if given == "variable" and url:
        monkeypatch.setenv("SLUICE_URL", url)
        ended = sluice("environments")
    else:
        ended = sluice("environments", "--url", url)
    assert (ended.exit_code, said in ended.stderr) == (2, True), ended.output
    assert "http://127.0.0.1:8050" in ended.stderr
    assert "secret" not in ended.stderr


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
