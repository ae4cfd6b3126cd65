"""getResult and logs: who gets which file, and what else is answered."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.api import ADMIN, API, OTHER_KEY, OWNER, Api, app, error
from werkzeug.test import TestResponse

from functions import ethereum
from functions.cluster.ports import JobRef
from functions.store import json_columns
from functions.store.sql import SqlStore
from functions.workflow.decision import Decision, Verdict
from functions.workflow.model import Manifest, Record, ResultFile, Stage, WorkflowId
from functions.workflow.observation import DeleteRequested, Tick

CONTENT = b"species,count\nGentoo,124\n"


@pytest.fixture
def api(tmp_path: Path) -> Api:
    return Api(app(results_url=f"file://{tmp_path}", allowed_providers=PROVIDERS))


PROVIDERS = (ethereum.address("0x" + "11" * 32), ethereum.address(OTHER_KEY))


def published(api: Api, job: str = "j", name: str = "outputs/count.csv", type: str = "output") -> ResultFile:
    url = api.app.storage.put(f"{job}/1/{name}", [CONTENT], len(CONTENT), "text/csv")
    return ResultFile(name, len(CONTENT), type, url, content_type="text/csv")


def fetch(api: Api, job: str, index: Any = 0, owner: str = OWNER, **headers: str) -> TestResponse:
    return api.get("/getResult", api.signed(f"{owner}{job}", owner=owner, jobId=job, index=index), headers=headers)


def test_the_owner_gets_a_file_by_its_index(api: Api) -> None:
    log = published(api, name="logs/algorithm.log", type="algorithmLog")
    job = api.finished(Manifest(files=(published(api), log)))
    assert api.jobs(job)[0]["results"] == [
        {"filename": "count.csv", "filesize": len(CONTENT), "type": "output"},
        {"filename": "algorithm.log", "filesize": len(CONTENT), "type": "algorithmLog"},
    ]
    answered = fetch(api, job)
    assert (answered.status_code, answered.data) == (200, CONTENT)
    assert answered.headers["Content-Disposition"] == "attachment;filename=count.csv"
    assert answered.headers["Access-Control-Allow-Origin"] == "*"
    assert "filename=algorithm.log" in fetch(api, job, 1).headers["Content-Disposition"]


def test_the_status_warns_of_outputs_that_were_not_published(api: Api) -> None:
    text = "outputs/latest is not published: it is a symbolic link"
    warned = api.finished(Manifest(files=(published(api),), warnings=(text,)), agreementId="0x1")
    assert api.jobs(warned)[0]["warnings"] == [text]
    silent = api.finished(Manifest(files=(published(api),)), agreementId="0x2")
    assert "warnings" not in api.jobs(silent)[0]


def test_a_range_of_a_file_is_served(api: Api) -> None:
    job = api.finished(Manifest(files=(published(api),)))
    answered = fetch(api, job, Range="bytes=8-12")
    assert (answered.status_code, answered.data) == (206, CONTENT[8:13])


def test_missing_parameters_of_a_download_are_named_in_operator_services_order(api: Api) -> None:
    asked = api.signed(f"{OWNER}j", owner=OWNER, jobId="j", index=0)
    for name in ("jobId", "index", "nonce", "providerSignature", "owner"):
        del asked[name]
        expected = f'"{name}" is required in the call to GET:/getResult' if asked else "payload seems empty."
        assert error(api.get("/getResult", asked)) == (400, expected)


@pytest.mark.parametrize(
    ("index", "code", "text"),
    [
        ("abc", 400, "Error getResult: invalid literal for int() with base 10: 'abc'"),
        (-1, 404, "Negative index -1"),
        (4, 404, "No such index 4 in this compute job"),
        ("9" * 5000, 400, "Error getResult: an index has at most 20 digits"),
    ],
)
def test_a_wrong_index_is_refused_with_operator_services_message(api: Api, index: Any, code: int, text: str) -> None:
    job = api.finished(Manifest(files=(published(api),)))
    assert error(fetch(api, job, index)) == (code, text)


def test_the_owner_may_spell_the_address_in_any_way(api: Api) -> None:
    job = api.finished(Manifest(files=(published(api),)))
    for owner in (OWNER.lower(), OWNER[2:], "0X" + OWNER[2:].upper()):
        assert fetch(api, job, owner=owner).data == CONTENT


def test_results_are_served_only_to_the_owner(api: Api) -> None:
    job = api.finished(Manifest(files=(published(api),)))
    assert error(fetch(api, job, owner="0xother")) == (404, f"Owner 0xother mismatch for job {job}")
    assert error(fetch(api, "0xunknown")) == (404, f"Owner {OWNER} mismatch for job 0xunknown")


def test_results_are_served_only_through_the_provider_that_submitted_the_job(api: Api) -> None:
    job = api.finished(Manifest(files=(published(api),)))
    api.key = OTHER_KEY
    other = ethereum.address(OTHER_KEY).lower()
    assert error(fetch(api, job)) == (404, f"Provider {other} mismatch for job {job}")


def test_jobs_of_operator_service_are_bound_to_their_owner_alone(api: Api) -> None:
    """The address it stored is nobody's: it was recovered from another text than the one that was signed."""
    record = api.app.store.get(WorkflowId(api.finished(Manifest(files=(published(api),)))))
    assert record is not None
    stored = {"agreement_id": "0xold", "provider": "0x15d3ef1bc483403b15e48d7a7c01684546e83646", "adopted": True}
    workflow = replace(record.workflow, id=WorkflowId("old"))
    adopted = Record(workflow, replace(record.submission, **stored), record.manifest)
    with api.app.store.begin() as tx:
        tx.add(adopted, [(Decision(workflow, Verdict.APPLIED), "test")])
    assert fetch(api, "old").data == CONTENT


def test_a_job_without_results_is_a_404(api: Api) -> None:
    for job in (api.start(agreementId="0xrunning")["jobId"], api.finished(agreementId="0xempty")):
        assert error(fetch(api, job)) == (404, f"No results for job {job}")


def test_removed_and_expired_results_are_a_410(api: Api) -> None:
    removed = api.finished(Manifest(files=(published(api),)), agreementId="0x1")
    api.app.transitions.apply(WorkflowId(removed), DeleteRequested(), "test")
    assert error(fetch(api, removed)) == (410, f"The results of job {removed} were removed")

    api.app.environments["ocean-compute"] = brief(api)  # type: ignore[index]
    expired = api.finished(Manifest(files=(published(api),)), agreementId="0x2")
    api.app.clock.pass_(hours=1)  # type: ignore[attr-defined]
    assert api.app.transitions.apply(WorkflowId(expired), Tick(), "test") is Verdict.APPLIED
    assert error(fetch(api, expired)) == (410, f"The results of job {expired} have expired")
    assert api.jobs(expired)[0]["results"] == ""


def brief(api: Api) -> Any:
    import msgspec

    return msgspec.structs.replace(api.app.environments["ocean-compute"], storage_expiry=60)


def test_a_log_comes_from_the_running_job_and_later_from_the_published_file(api: Api) -> None:
    log = published(api, name="adminlogs/configure.log", type="configrationLog")
    job = api.start()["jobId"]

    def asked() -> TestResponse:
        return api.get("/logs", {"jobId": job, "component": "configure"}, headers=ADMIN)

    waits = f"No log of configure for job {job} yet: the stage is still running and has printed nothing"
    assert error(asked()) == (404, waits)
    ref = JobRef(WorkflowId(job), Stage.CONFIGURE, 1, "ocean-compute")
    api.cluster.finish(ref, log=b"fetching\n")
    assert (asked().text, asked().headers["Content-Type"]) == ("fetching\n", "text/plain; charset=utf-8")
    for stage in (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH):
        api.end_stage(job, stage, Manifest(admin_files=(log,)))
    assert asked().data == CONTENT
    assert api.jobs(job)[0]["results"] == "", "admin logs are not for consumers"


def test_the_error_for_a_missing_log_says_whether_the_job_still_runs(api: Api) -> None:
    job = api.start()["jobId"]
    asked = {"jobId": job, "component": "publish"}
    running = f"No log of publish for job {job} yet: the job is still running (Configuring volumes)"
    assert error(api.get("/logs", asked, headers=ADMIN)) == (404, running)
    for stage in (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH):
        api.end_stage(job, stage)
    assert error(api.get("/logs", asked, headers=ADMIN)) == (404, f"No log of publish for job {job}")


def test_the_end_of_a_long_log_is_shown_from_the_job_and_from_the_published_file(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = published(api, name="adminlogs/configure.log", type="configrationLog")
    job = api.start()["jobId"]

    def asked() -> str:
        return api.get("/logs", {"jobId": job, "component": "configure"}, headers=ADMIN).text

    api.cluster.finish(
        JobRef(WorkflowId(job), Stage.CONFIGURE, 1, "ocean-compute"), log=b"line\n" * 20_000 + b"Traceback\n"
    )
    assert asked() == "line\n" * 9_999 + "Traceback\n"
    for stage in (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH):
        api.end_stage(job, stage, Manifest(admin_files=(log,)))
    monkeypatch.setattr("functions.status.requested_log.MAX_LOG", 7)
    assert asked() == CONTENT[-7:].decode()


def test_the_log_of_an_unknown_stage_or_job_is_refused(api: Api) -> None:
    job = api.start()["jobId"]
    assert api.get("/logs", {"jobId": job, "component": "kernel"}, headers=ADMIN).status_code == 400
    assert api.get("/logs", {"component": "configure"}, headers=ADMIN).status_code == 400
    assert api.get("/logs", {"jobId": "0xunknown"}, headers=ADMIN).status_code == 404


@pytest.mark.parametrize(
    ("scope", "refused"),
    [
        ("all", True),
        ("environment:ocean-compute", True),
        ("data:did:op:1", True),
        ("environment:another", False),
        ("data:did:op:2", False),
    ],
)
def test_a_freeze_refuses_downloads_until_it_is_lifted(api: Api, scope: str, refused: bool) -> None:
    job = api.finished(Manifest(files=(published(api),)))
    frozen = {"scope": scope, "reason": "audit"}
    assert api.submit.post(f"{API}/freeze", json=frozen, headers=ADMIN).status_code == 200
    asked = fetch(api, job)
    assert (asked.status_code == 403 and "frozen" in error(asked)[1]) if refused else asked.data == CONTENT
    assert api.submit.delete(f"{API}/freeze", json=frozen, headers=ADMIN).status_code == 200
    assert fetch(api, job).data == CONTENT


def test_revoked_results_are_gone(api: Api) -> None:
    job = api.finished(Manifest(files=(published(api),)))
    assert api.submit.post(f"{API}/revoke", json={"jobId": job}, headers=ADMIN).status_code == 200
    assert error(fetch(api, job)) == (410, f"The results of job {job} were removed")


def test_a_download_decodes_only_its_own_entry_of_a_long_list(
    tmp_path: Path, monkeypatch: Any, sqlite_url: str
) -> None:
    with closing(SqlStore(sqlite_url)) as store:
        api = Api(app(store, results_url=tmp_path.as_uri()))
        files = tuple(published(api, name=f"outputs/{n}.csv") for n in range(50))
        job = api.finished(Manifest(files=files))
        decoded: list[Any] = []
        read = json_columns._file

        def counted(entry: Any) -> ResultFile:
            decoded.append(entry)
            return read(entry)

        monkeypatch.setattr(json_columns, "_file", counted)
        assert fetch(api, job, index=30).status_code == 200
    assert [entry["filename"] for entry in decoded] == ["30.csv"]
