"""What the console's pages read, over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.api import ADMIN, OWNER, Api, settings
from support.console import PAGE, clock, read

from functions.results.storage import open_storage
from functions.workflow.model import Manifest, Outcome, ResultFile, Stage, WorkflowId
from functions.workflow.observation import StageEnded


def test_the_overview_counts_slots_and_queues(operator: Api) -> None:
    for n in range(6):
        operator.start(agreementId=f"0xa{n}")
    environments = {each["id"]: each for each in read(operator, "overview")["environments"]}
    first = environments["ocean-compute"]
    assert (first["running"], first["slots"], first["queued"], first["held"]) == (4, 4, 2, 0)
    assert environments["mainnet"]["running"] == 0


def test_the_list_is_filtered_and_paged(operator: Api) -> None:
    jobs = []
    for n in range(120):
        jobs.append(operator.start(agreementId=f"0xb{n}")["jobId"])
        clock(operator).pass_(seconds=1)
    found, before = [], ""
    while True:
        page = read(operator, "workflows", before=before)
        found += [each["id"] for each in page["workflows"]]
        if not (before := page["next"] or ""):
            break
    assert found == jobs[::-1]
    assert len(read(operator, "workflows", state="running")["workflows"]) == 4
    assert len(read(operator, "workflows", owner=OWNER.lower())["workflows"]) == 50
    assert read(operator, "workflows", owner="0xsomebody")["workflows"] == []
    assert [each["id"] for each in read(operator, "workflows", id=jobs[7])["workflows"]] == [jobs[7]]


@pytest.mark.parametrize("wrong", [{"state": "odd"}, {"dialect": "odd"}, {"before": "x"}, {"before": "1.2,3"}])
def test_a_wrong_filter_is_refused_with_its_name(operator: Api, wrong: dict[str, str]) -> None:
    response = operator.status.get("/console/api/workflows", query_string=wrong, headers=PAGE)
    assert response.status_code == 400
    assert f"`{next(iter(wrong))}`" in response.text


def test_a_list_that_did_not_change_is_answered_without_a_body(operator: Api) -> None:
    operator.start()
    first = operator.status.get("/console/api/workflows", headers=PAGE)
    again = operator.status.get("/console/api/workflows", headers={**PAGE, "If-None-Match": first.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_a_workflow_is_shown_without_its_secret_and_its_urls(operator: Api) -> None:
    file = ResultFile("outputs/a.csv", 4, "output", "file:///secret/place", sha256="ab" * 32)
    job = operator.finished(Manifest((file,)))
    shown = operator.status.get(f"/console/api/workflows/{job}", headers=PAGE)
    body = json.loads(shown.text)
    assert (body["state"], [each["stage"] for each in body["attempts"]]) == (
        "succeeded",
        ["configure", "algorithm", "publish"],
    )
    assert body["files"] == [{"name": "a.csv", "size": 4, "type": "output", "sha256": "ab" * 32}]
    assert body["what"]["runs"][0]["image"] == "node@sha256:abc"
    record = operator.app.store.get(job)  # type: ignore[arg-type]
    assert record is not None
    for hidden in ("secret/place", record.submission.secret, "console.log"):
        assert hidden not in shown.text


def test_of_many_files_the_first_are_shown(operator: Api) -> None:
    file = ResultFile("outputs/a.csv", 4, "output", "file:///x")
    shown = read(operator, f"workflows/{operator.finished(Manifest((file,) * 600))}")
    assert (len(shown["files"]), shown["fileCount"]) == (500, 600)


def test_the_log_of_a_task_is_that_of_its_last_executor(operator: Api, tmp_path: Path) -> None:
    operator.app.storage = open_storage(settings(results_url=tmp_path.as_uri()))
    logs = []
    for number in (1, 9, 10):
        name, text = f"executor-{number}.stdout.log", f"executor {number}".encode()
        url = operator.app.storage.put(f"j/1/adminlogs/{name}", [text], len(text), "text/plain")
        logs.append(ResultFile(f"adminlogs/{name}", len(text), "executorLog", url))
    job = operator.finished(Manifest((), tuple(logs)))
    asked = operator.status.get(f"/api/v1/operator/logs?jobId={job}", headers=PAGE)
    assert (asked.status_code, asked.text) == (200, "executor 10")


def test_a_queued_workflow_shows_its_place(operator: Api) -> None:
    jobs = [operator.start(agreementId=f"0xc{n}")["jobId"] for n in range(6)]
    assert read(operator, f"workflows/{jobs[5]}")["queuePosition"] == 2
    assert read(operator, f"workflows/{jobs[0]}")["queuePosition"] is None


def test_an_unknown_workflow_is_answered_with_404(operator: Api) -> None:
    assert operator.status.get("/console/api/workflows/none", headers=PAGE).status_code == 404


def test_nobody_reads_without_a_session(api: Api) -> None:
    for path in ("overview", "workflows", "workflows/x"):
        assert api.status.get(f"/console/api/{path}", headers=PAGE).status_code == 401
        assert api.status.get(f"/console/api/{path}").status_code == 400
        assert api.status.get(f"/console/api/{path}", headers=ADMIN).status_code in (200, 404)


def test_a_failed_workflow_shows_why(operator: Api) -> None:
    job = operator.start()["jobId"]
    operator.end_stage(job, Stage.CONFIGURE)
    operator.app.transitions.apply(WorkflowId(job), StageEnded(Stage.ALGORITHM, 1, None, Outcome.FAILED, 3), "test")
    operator.end_stage(job, Stage.PUBLISH)
    (row,) = read(operator, "workflows", state="failed")["workflows"]
    assert (row["id"], row["reason"]) == (job, "AlgorithmExit:3")
