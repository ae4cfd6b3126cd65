"""What an owner sees of a job that waits: for a slot of its environment, or for its stage's container."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from support.api import ADMIN, API, NOW, OWNER, Api
from werkzeug.test import TestResponse

from functions.api.ocean.answers import epoch
from functions.cluster.ports import JobRef
from functions.workflow.model import Outcome, Stage, WorkflowId
from functions.workflow.observation import StageEnded, StageStuck, Tick


def listed(api: Api) -> list[dict[str, Any]]:
    """All of the owner's jobs, in the order in which they were submitted."""
    jobs: list[dict[str, Any]] = json.loads(api.get("/compute", api.signed(OWNER, owner=OWNER)).text)
    return sorted(jobs, key=lambda job: str(job["agreementId"]))


def submitted(api: Api, count: int) -> list[str]:
    found = []
    for n in range(count):
        found.append(api.start(agreementId=f"0x{n}")["jobId"])
        api.app.clock.pass_(seconds=1)  # type: ignore[attr-defined]
    return found


def stuck(api: Api, job: str, reason: str, seconds: int) -> None:
    """The Pod of configure waits since the submission, and is seen so after `seconds`."""
    seen = StageStuck(Stage.CONFIGURE, 1, None, reason, NOW)
    api.app.clock.now = NOW + timedelta(seconds=seconds)  # type: ignore[attr-defined]
    api.app.transitions.apply(WorkflowId(job), seen, "test")


def test_a_queued_job_has_its_place_in_the_queue(api: Api) -> None:
    submitted(api, 7)  # four run
    assert [job.get("queuePosition") for job in listed(api)] == [None] * 4 + [1, 2, 3]


def test_the_place_moves_up_when_a_slot_is_freed(api: Api) -> None:
    jobs = submitted(api, 6)
    api.cluster.finish(JobRef(WorkflowId(jobs[0]), Stage.CONFIGURE, 1, "ocean-compute"))
    ended = StageEnded(Stage.CONFIGURE, 1, None, Outcome.FAILED, 31)
    api.app.transitions.apply(WorkflowId(jobs[0]), ended, "test")
    api.end_stage(jobs[0], Stage.PUBLISH)
    assert [job.get("queuePosition") for job in listed(api)] == [None] * 5 + [1]
    assert api.jobs(jobs[5])[0]["queuePosition"] == 1


def test_each_environment_has_a_queue_of_its_own(api: Api) -> None:
    submitted(api, 5)
    for n in range(11):
        api.start(agreementId=f"0xm{n}", environment="mainnet", chainId=1)
    assert [job["queuePosition"] for job in listed(api) if "queuePosition" in job] == [1, 1]


def test_only_the_first_places_of_a_long_queue_are_told(api: Api, monkeypatch: Any) -> None:
    monkeypatch.setattr("functions.api.ocean.answers._POSITIONS", 2)
    submitted(api, 8)
    assert [job.get("queuePosition") for job in listed(api)] == [None] * 4 + [1, 2, None, None]


def test_stop_and_delete_answer_with_the_place_of_jobs_that_still_wait(api: Api) -> None:
    jobs = submitted(api, 6)
    asked = api.signed(f"{OWNER}{jobs[4]}", owner=OWNER, jobId=jobs[4])
    stopped: TestResponse = api.submit.put(f"{API}/compute", query_string=asked)
    assert "queuePosition" not in json.loads(stopped.text)[0]
    assert api.jobs(jobs[5])[0]["queuePosition"] == 1


def test_the_owner_sees_what_the_pod_waits_for_and_since_when(api: Api) -> None:
    job = api.start()["jobId"]
    stuck(api, job, "Unschedulable", 20)
    assert api.jobs(job)[0]["waiting"] == {"reason": "Unschedulable", "since": epoch(NOW)}
    assert api.jobs(job)[0]["statusText"] == "Configuring volumes"


def test_the_operator_sees_the_same(api: Api) -> None:
    job = api.start()["jobId"]
    stuck(api, job, "ImagePullBackOff", 20)
    info = json.loads(api.get("/info", {"jobId": job}, headers=ADMIN).text)
    assert info["waiting"] == api.jobs(job)[0]["waiting"]


def test_a_pod_that_runs_waits_for_nothing(api: Api) -> None:
    job = api.start()["jobId"]
    stuck(api, job, "Unschedulable", 20)
    api.app.transitions.apply(WorkflowId(job), Tick(runs_since=NOW + timedelta(seconds=25)), "test")
    assert "waiting" not in api.jobs(job)[0]
