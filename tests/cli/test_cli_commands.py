"""Commands that talk to a server: what they send, what they print, how they end."""

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
def test_status_tells_where_a_job_stands_by_its_exit_code_too(
    sluice: Sluice, api: FakeApi, seen: object, code: int, text: str
) -> None:
    api.put("GET", "/compute", [seen])
    ended = sluice("status", "job1", "--url", api.url)
    assert (ended.exit_code, text in ended.stdout) == (code, True), ended.output


def test_status_tells_operators_how_far_a_stage_is(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/compute", [job(status=40)])
    told = {"files": 1, "filesTotal": 3, "bytes": 2_000_000, "bytesTotal": None}
    api.put("GET", "/info", job(status=40, progress=told))
    assert "1 of 3 files, 2.0 MB\n" in sluice("status", "job1", "--url", api.url).stdout
    told |= {"bytesTotal": 8_000_000}
    assert "1 of 3 files, 2.0 MB of 8.0 MB\n" in sluice("status", "job1", "--url", api.url).stdout
    assert json.loads(sluice("status", "job1", "--json", "--url", api.url).stdout)["progress"] == told


def test_status_tells_operators_what_a_stage_waits_for(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/compute", [job(status=40)])
    api.put("GET", "/info", job(status=40, progress=None, waiting="Unschedulable"))
    assert "waits for  Unschedulable\n" in sluice("status", "job1", "--url", api.url).stdout
    assert json.loads(sluice("status", "job1", "--json", "--url", api.url).stdout)["waiting"] == "Unschedulable"


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
def test_json_is_the_servers_own_answer(
    sluice: Sluice, api: FakeApi, command: list[str], path: str, value: object
) -> None:
    api.put("GET", path, value)
    ended = sluice(*command, "--json", "--url", api.url)
    assert ended.exit_code == 0, ended.output
    assert json.loads(ended.stdout) == (value[0] if command[0] == "status" else value)  # type: ignore[index]


@pytest.mark.parametrize(
    "command", [["status", "j1"], ["list"], ["stop", "j1"], ["logs", "j1"], ["results", "j1"], ["environments"]]
)
def test_without_a_server_the_exit_code_is_3_and_the_message_says_what_to_do(
    sluice: Sluice, command: list[str]
) -> None:
    ended = sluice(*command, "--url", "http://127.0.0.1:9")
    assert ended.exit_code == 3
    assert "sluice up" in ended.stderr
    assert "Traceback" not in ended.output


def test_what_is_no_sluice_counts_as_no_server(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/environments", b"<html>")
    assert sluice("environments", "--url", api.url).exit_code == 3


@pytest.mark.parametrize(("status", "code"), [(400, 2), (401, 2), (404, 2), (500, 3), (503, 3)])
def test_a_refusal_is_told_in_the_servers_words(sluice: Sluice, api: FakeApi, status: int, code: int) -> None:
    api.put("GET", "/environments", {"error": "not today"}, status)
    ended = sluice("environments", "--url", api.url)
    assert ended.exit_code == code
    assert "not today" in ended.stderr


def test_an_address_where_no_sluice_is_is_named(sluice: Sluice, api: FakeApi) -> None:
    ended = sluice("environments", "--url", f"{api.url}/foo")
    assert ended.exit_code == 2
    assert f"{api.url}/foo/api/v1/operator/environments: no such path" in ended.stderr
    ended = sluice("list", "--url", f"{api.url}/foo")
    assert "Signature" not in ended.stderr
    ended = sluice("environments", "--url", api.url.replace("http:", "https:"))
    assert (ended.exit_code, "no TLS there, or its certificate" in ended.stderr) == (3, True)


def test_a_list_of_no_jobs_says_whose(sluice: Sluice, api: FakeApi, key_file: Path) -> None:
    api.put("GET", "/compute", [])
    api.put("GET", "/runningjobs", [])
    asked = ("--key-file", key_file, "--url", api.url)
    ended = sluice("list", *asked)
    assert (ended.exit_code, ended.stdout, ended.stderr) == (0, "", f"no jobs of {address(KEY)}\n")
    assert sluice("list", "--owner", "0xYou", *asked).stderr == "no jobs of 0xYou\n"
    assert sluice("list", "--running", *asked).stderr == "nothing runs\n"
    assert sluice("list", "--json", *asked).stdout == "[]\n"


def test_an_unknown_job_is_bad_use(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/compute", [])
    ended = sluice("status", "nope", "--url", api.url)
    assert (ended.exit_code, "knows no job nope" in ended.stderr) == (2, True)


@pytest.mark.parametrize(("raised", "code"), [(KeyboardInterrupt(), 130), (ZeroDivisionError("secret"), 70)])
def test_ctrl_c_is_130_and_a_fault_of_our_own_is_70_and_shows_no_trace(
    sluice: Sluice, monkeypatch: pytest.MonkeyPatch, raised: BaseException, code: int
) -> None:
    def broken(self: object) -> None:
        raise raised

    monkeypatch.setattr("functions.cli.api_client.Client.environments", broken)
    ended = sluice("environments")
    assert ended.exit_code == code
    assert "secret" not in ended.output


@pytest.mark.parametrize("arguments", [["status"], ["nothing"], ["list", "--url", "ftp://x"], ["run", "missing.json"]])
def test_bad_use_is_2(sluice: Sluice, arguments: list[str]) -> None:
    assert sluice(*arguments).exit_code == 2


def test_requests_are_signed_with_the_key_over_owner_job_and_nonce(
    sluice: Sluice, api: FakeApi, key_file: Path
) -> None:
    api.put("GET", "/compute", [job(status=40)])
    api.put("PUT", "/compute", [job(stopreq=1)])
    ended = sluice("stop", "job1", "--key-file", key_file, "--url", api.url)
    assert ended.exit_code == 0, ended.output
    for asked, owner in zip(api.of("/compute"), (None, OWNER), strict=True):
        params = asked.params
        assert recover(f"{owner}job1{params['nonce']}", params["providerSignature"]) == address(KEY).lower()


def test_the_same_key_of_ones_own_is_made_at_first_use_and_readable_by_oneself_alone(
    sluice: Sluice, api: FakeApi, tmp_path: Path
) -> None:
    api.put("GET", "/compute", [])
    sluice("list", "--url", api.url)
    sluice("list", "--url", api.url)
    first, second = (asked.params["owner"] for asked in api.of("/compute"))
    assert first == second
    file = tmp_path / "home" / ".config" / "sluice" / "key"
    assert file.stat().st_mode & 0o777 == 0o600


def test_a_malformed_key_is_refused_without_showing_it(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "bad").write_text("0xnotakey")
    ended = sluice("list", "--key-file", tmp_path / "bad", "--url", api.url)
    assert ended.exit_code == 2
    assert "notakey" not in ended.output


def test_the_admin_value_comes_from_a_file(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "admin").write_text("open sesame\n")
    api.put("GET", "/runningjobs", [])
    sluice("list", "--running", "--admin-file", tmp_path / "admin", "--url", api.url)
    assert api.asked[0].headers["Admin"] == "open sesame"


def test_submit_prints_the_id_and_sends_the_whole_body(
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


def test_submit_asks_which_environment_where_there_are_several(sluice: Sluice, api: FakeApi, document: Path) -> None:
    api.put("GET", "/environments", [{"id": "large"}, {"id": "small"}])
    ended = sluice("submit", document, "--url", api.url)
    assert (ended.exit_code, "large, small" in ended.stderr) == (2, True)


def test_an_environment_that_is_not_offered_is_told_with_those_that_are(
    sluice: Sluice, api: FakeApi, document: Path
) -> None:
    api.put("GET", "/environments", [{"id": "large"}, {"id": "small"}])
    api.put("POST", "/compute", {"error": "Environment invalid or does not exist"}, 400)
    ended = sluice("submit", document, "--environment", "nope", "--url", api.url)
    assert ended.exit_code == 2
    assert f"no environment nope at {api.url}; it offers large, small" in ended.stderr
    ended = sluice("submit", document, "--environment", "small", "--url", api.url)
    assert (ended.exit_code, "Environment invalid or does not exist" in ended.stderr) == (2, True)


@pytest.mark.parametrize("command", ["run", "submit"])
def test_a_document_that_is_not_there_is_told_as_such(sluice: Sluice, command: str) -> None:
    ended = sluice(command, "nofile.json")
    assert (ended.exit_code, ended.stderr) == (2, "Error: nofile.json: No such file or directory\n")


def test_submit_of_a_bad_document_asks_no_server(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text('{"stages": []}')
    ended = sluice("submit", tmp_path / "bad.json", "--url", api.url)
    assert (ended.exit_code, "$.stages" in ended.stderr, api.asked) == (2, True, [])


def test_waiting_for_a_failed_job_shows_the_stages_the_reason_and_the_log_and_ends_with_1(
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
    assert "\x1b" not in ended.stderr  # neither colour here, nor what an algorithm prints to steer a terminal


class _Naps:
    """In place of time.sleep: takes no time."""

    def __init__(self, then: Callable[[], None] = lambda: None, most: int = 1) -> None:
        self.taken: list[float] = []
        self._then, self._most = then, most

    def __call__(self, seconds: float) -> None:
        assert len(self.taken) < self._most, "waits although it is over"
        self.taken.append(seconds)
        self._then()


def test_who_is_no_operator_waits_by_the_status_alone(sluice: Sluice, api: FakeApi, document: Path) -> None:
    api.put("GET", "/environments", [{"id": "ocean-compute"}])
    api.put("POST", "/compute", [job(status=40)])
    api.put("GET", "/info", {"error": "Admin header is empty."}, 400)
    api.put("GET", "/compute", [job()])
    ended = sluice("submit", document, "--wait", "--url", api.url)
    assert (ended.exit_code, "Job finished" in ended.stderr) == (0, True), ended.output


def test_who_was_told_to_be_no_operator_does_not_ask_as_one_again(api: FakeApi) -> None:
    api.put("GET", "/info", {"error": "Admin header is empty."}, 400)
    api.put("GET", "/compute", [job(status=40)])
    naps = _Naps(then=lambda: api.put("GET", "/compute", [job()]))
    assert [seen["status"] for seen in follow(Client(api.url, KEY), "job1", pause=naps)] == [40, 70]
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
def test_a_server_elsewhere_is_asked_each_second_at_first_and_then_rarely(
    monkeypatch: pytest.MonkeyPatch, url: str, first: float, longest: float
) -> None:
    client, naps = Client(url, KEY), _Naps(most=60)
    monkeypatch.setattr(client, "info", lambda job_: job(status=40 if len(naps.taken) < 60 else 70))
    assert [seen["status"] for seen in follow(client, "job1", pause=naps)] == [40, 70]
    assert naps.taken[0] == first
    assert max(naps.taken) == naps.taken[-1] == longest
    assert naps.taken == sorted(naps.taken)
    assert sum(nap < longest for nap in naps.taken) > 5


def test_who_is_no_operator_reads_the_log_that_was_published(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/logs", {"error": "Admin header is empty."}, 400)
    api.publish(("algorithm.log", b"hello\n"), type="algorithmLog")
    ended = sluice("logs", "job1", "--url", api.url)
    assert (ended.exit_code, ended.stdout) == (0, "hello\n"), ended.output
    ended = sluice("logs", "job1", "--json", "--url", api.url)
    assert json.loads(ended.stdout) == {"jobId": "job1", "stage": "algorithm", "log": "hello\n"}


def test_delete_asks_first(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/compute", [job()])
    api.put("DELETE", "/compute", [job(removed=1)])
    for answer in ("n\n", ""):
        ended = sluice("delete", "job1", "--url", api.url, input=answer)
        assert (ended.exit_code, "nothing was done" in ended.stderr) == (130, True)
    assert api.asked == []
    assert sluice("delete", "job1", "--yes", "--url", api.url).exit_code == 0
    assert [asked.method for asked in api.asked] == ["GET", "DELETE"]


def test_migrate_brings_a_database_up_to_date_and_does_nothing_the_second_time(
    sluice: Sluice, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/record.db")
    assert "applied" in sluice("migrate").stdout
    assert sluice("migrate").stdout == "the database is up to date\n"


@pytest.mark.parametrize("command", ["migrate", "sweep"])
def test_a_missing_setting_is_named(sluice: Sluice, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    for variable in ("DATABASE_URL", "DATABASE_URL_FILE", "POSTGRES_HOST"):
        monkeypatch.delenv(variable, raising=False)
    ended = sluice(command)
    assert (ended.exit_code, "DATABASE_URL" in ended.stderr) == (2, True), ended.output
