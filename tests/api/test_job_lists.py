"""Status objects: which jobs are listed, in which order, and with what."""

from __future__ import annotations

import json
from typing import Any

from support.api import OWNER, Api, error

from functions.workflow.model import Outcome, Stage, WorkflowId
from functions.workflow.observation import StageEnded


def test_a_list_needs_at_least_one_filter(api: Api) -> None:
    asked = api.signed("None")
    assert error(api.get("/compute", asked)) == (400, "You have to specify one of agreementId, jobId or owner")
    assert error(api.get("/compute", {**asked, "owner": "x"}))[0] == 400, "one character does not count"


def test_a_job_is_listed_only_if_it_matches_all_filters(api: Api) -> None:
    one = api.start(agreementId="0xone")
    two = api.start(agreementId="0xtwo", chainId=5, owner="0xother")

    def found(**filters: Any) -> list[str]:
        message = f"{filters.get('owner')}{filters.get('jobId', '')}"
        answered = api.get("/compute", api.signed(message, **filters))
        return [job["jobId"] for job in json.loads(answered.text)]

    assert found(owner=OWNER) == found(agreementId="0xone") == found(jobId=one["jobId"]) == [one["jobId"]]
    assert found(owner=OWNER, jobId=two["jobId"]) == []
    assert found(owner="0xother", chainId="5") == found(owner="0xother", chain_id=5) == [two["jobId"]]
    assert found(owner="0xother", chainId="6") == []
    assert found(jobId="0xunknown") == []


def test_lists_are_newest_first_and_come_in_pages(api: Api) -> None:
    jobs = []
    for number in range(5):
        jobs.append(api.start(agreementId=f"0xagreement{number}")["jobId"])
        api.app.clock.pass_(seconds=1)  # type: ignore[attr-defined]

    def page(**asked: Any) -> list[str]:
        answered = api.get("/compute", api.signed(OWNER, owner=OWNER, **asked))
        return [job["jobId"] for job in json.loads(answered.text)]

    assert page() == jobs[::-1]
    assert page(limit=2) == jobs[:2:-1]
    assert page(limit=2, offset=3) == jobs[1::-1]
    assert page(limit=10**9) == jobs[::-1]
    for wrong in ("-1", "x", "", str(10**10), "²"):
        assert error(api.get("/compute", api.signed(OWNER, owner=OWNER, limit=wrong)))[0] == 400


def test_only_a_failed_job_has_a_reason_and_termination_details(api: Api) -> None:
    job = api.start()["jobId"]
    assert "reason" not in api.jobs(job)[0]
    api.end_stage(job, Stage.CONFIGURE)
    seen = StageEnded(Stage.ALGORITHM, 1, None, Outcome.FAILED, 137, "OOMKilled", oom_killed=True)
    api.app.transitions.apply(WorkflowId(job), seen, "test")
    api.end_stage(job, Stage.PUBLISH)
    found = api.jobs(job)[0]
    assert (found["status"], found["statusText"], found["reason"]) == (41, "Algorithm failed", "OOMKilled")
    assert found["terminationDetails"] == {"OOMKilled": True, "exitCode": 137}
    assert float(found["dateFinished"]) > 0


def test_a_missing_owner_is_signed_as_the_text_none(api: Api) -> None:
    job = api.start()["jobId"]
    assert api.get("/compute", api.signed(f"None{job}", jobId=job)).status_code == 200
    assert api.get("/compute", api.signed(job, jobId=job)).status_code == 401
