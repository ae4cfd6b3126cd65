"""The command submit: what it sends, and how it waits for the job."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support.fake_api import KEY, FakeApi, Sluice, job

from functions.cli.api_client import Client
from functions.cli.watch import follow
from functions.ethereum import address, recover

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
def document(tmp_path: Path) -> Path:
    file = tmp_path / "workflow.json"
    file.write_text(json.dumps(WORKFLOW))
    return file


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


@pytest.mark.parametrize("command", ["submit", "run"])
def test_a_task_of_tes_is_refused_with_the_commands_that_take_it(sluice: Sluice, document: Path, command: str) -> None:
    document.write_text('{"executors": [{"image": "alpine", "command": ["true"]}]}')
    ended = sluice(command, document)
    assert ended.exit_code == 2
    assert "this looks like a task of GA4GH TES: use `sluice tes run` or `sluice tes submit`" in ended.stderr


def test_waiting_for_held_results_says_so_once_and_who_can_decide(
    sluice: Sluice, api: FakeApi, document: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check = {"stage": "check", "attempt": 1, "outcome": "failed", "reason": "Review", "created": "1.0", "ended": "2.0"}
    held = job(status=40, phase="held", attempts=[check])
    monkeypatch.setattr("functions.cli.watch.follow", lambda *_: iter([held, {**held, "approvals": 1}, job()]))
    api.put("GET", "/environments", [{"id": "ocean-compute"}])
    api.put("POST", "/compute", [job(status=40)])
    ended = sluice("submit", document, "--wait", "--url", api.url)
    assert ended.exit_code == 0, ended.output
    assert "! check" in ended.stderr
    assert "has findings to review" in ended.stderr
    assert "failed" not in ended.stderr
    assert ended.stderr.count("The results wait for a decision: sluice review job1") == 1
