"""The command logs, for operators and for everybody else."""

from __future__ import annotations

import json

import pytest
from support.fake_api import FakeApi, Sluice, job


def test_the_log_of_a_deleted_job_is_said_to_be_removed(sluice: Sluice, api: FakeApi) -> None:
    api.put("GET", "/logs", {"error": "Admin header is empty."}, 400)
    api.put("GET", "/compute", [job(removed=1)])
    ended = sluice("logs", "job1", "--url", api.url)
    assert (ended.exit_code, "was removed with the results" in ended.stderr) == (2, True), ended.output


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
