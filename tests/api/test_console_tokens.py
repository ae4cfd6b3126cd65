"""The console of a consumer: their own workflows only, and nothing of what is checked or held."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from msgspec.structs import replace
from support.api import OWNER, Api, app
from support.console import PAGE, clock, read, sign_in

from functions.api.auth.principal import Principal
from functions.api.auth.tokens import Entry, digest
from functions.status.console import sign_in as sign_in_routes
from functions.status.console.console_views import Viewer, summary
from functions.store.values import Listing
from functions.workflow.model import Manifest, Phase, ResultFile

TOKEN, SEES_ALL = "t" * 43, "a" * 43
FILES = (ResultFile("outputs/a.csv", 4, "output", "file:///x"),)
LOG = ResultFile("adminlogs/algorithm.log", 4, "algorithmLog", "file:///y")


@pytest.fixture
def api(tmp_path: Path) -> Api:
    file = tmp_path / "tokens"
    lines = [Entry(digest(TOKEN), OWNER).line, Entry(digest(SEES_ALL), "auditor", admin=True).line]
    file.write_text("\n".join(lines))
    return Api(app(tes_tokens_file=str(file)))


def test_a_consumer_sees_their_own_workflows_and_no_others(api: Api) -> None:
    mine, other = api.start(agreementId="0x1")["jobId"], api.start(agreementId="0x2", owner="0xother")["jobId"]
    assert json.loads(sign_in(api, TOKEN).text)["role"] == "consumer"
    assert [each["id"] for each in read(api, "workflows")["workflows"]] == [mine]
    assert read(api, f"workflows/{mine}")["owner"] == OWNER
    for path in (f"workflows/{other}", "workflows/none"):
        response = api.status.get(f"/console/api/{path}", headers=PAGE)
        assert response.status_code == 404
    assert api.status.get("/console/api/workflows?owner=0xother", headers=PAGE).status_code == 403


def test_a_consumer_sees_no_history_no_admin_files_and_no_freezes(api: Api) -> None:
    job = api.finished(Manifest(FILES, (LOG,)))
    sign_in(api, TOKEN)
    shown = read(api, f"workflows/{job}")
    assert (shown["history"], shown["adminFiles"], len(shown["files"])) == ([], [], 1)
    assert {each["stage"] for each in shown["attempts"]} == {"configure", "algorithm"}
    for path in ("history?jobId=" + job, "held", "dead-letters", "freeze", "info?jobId=" + job):
        assert api.status.get(f"/api/v1/operator/{path}", headers=PAGE).status_code == 403
    assert "freezes" in read(api, "overview")


@pytest.mark.parametrize("phase", [Phase.FILTER, Phase.CHECK, Phase.HELD, Phase.RELEASE])
def test_a_consumer_does_not_learn_that_results_are_checked_or_held(api: Api, phase: Phase) -> None:
    api.start()
    (each,) = api.app.store.summaries(Listing())
    waiting = replace(each, phase=phase)
    owners, operators = summary(waiting, Viewer(OWNER)), summary(waiting, Viewer())
    assert (owners["phase"], owners["state"]) == ("publish", "running")
    assert operators["phase"] == phase


def test_a_consumer_reads_only_the_log_of_their_own_algorithm(api: Api) -> None:
    mine = api.start(agreementId="0x1")["jobId"]
    other = api.start(agreementId="0x2", owner="0xother")["jobId"]
    sign_in(api, TOKEN)

    def status(job: str, stage: str) -> int:
        query = {"jobId": job, "component": stage}
        return api.status.get("/api/v1/operator/logs", query_string=query, headers=PAGE).status_code

    assert status(other, "algorithm") == 404
    assert status(mine, "configure") == 403
    assert status(mine, "algorithm") == 404  # it has printed nothing
    assert api.status.get(f"/api/v1/operator/logs?jobId={mine}").status_code == 400


def test_an_observer_sees_all_workflows_and_changes_nothing(api: Api) -> None:
    job = api.finished(Manifest(FILES, (LOG,)), owner="0xother")
    assert json.loads(sign_in(api, SEES_ALL).text)["role"] == "observer"
    assert [each["id"] for each in read(api, "workflows")["workflows"]] == [job]
    assert read(api, f"workflows/{job}")["history"]
    cookie = api.status.get_cookie("sluice_session")
    assert cookie is not None
    api.submit.set_cookie("sluice_session", cookie.value)
    assert api.submit.post("/api/v1/operator/freeze", json={"scope": "all"}, headers=PAGE).status_code == 403


def test_a_wrong_token_opens_nothing(api: Api) -> None:
    assert sign_in(api, "x" * 43).status_code == 401
    assert sign_in(api, "").status_code == 401


def test_a_token_that_is_revoked_ends_its_sessions(api: Api) -> None:
    file = Path(api.app.settings.tes_tokens_file)
    for token, owner, admin in ((TOKEN, OWNER, False), (SEES_ALL, "auditor", True)):
        sign_in(api, token)
        assert read(api, "session")["name"] == owner
        before = file.read_text()
        others = [line for line in before.splitlines() if digest(token) not in line]
        other_rights, other_owner = (owner, not admin), ("somebody-else", admin)
        said = [
            [*others, Entry(digest(token), name, admin=rights).line] for name, rights in (other_rights, other_owner)
        ]
        changes = [*said, others, ["# nobody"]]
        for lines in changes:
            file.write_text("\n".join(lines))
            assert read(api, "session") == {"role": None}
            assert api.status.get("/console/api/workflows", headers=PAGE).status_code == 401
        file.write_text(before)


def test_the_session_of_a_jwt_ends_with_the_jwt(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    until = int(clock(api)().timestamp()) + 60
    monkeypatch.setattr(sign_in_routes, "principal_of", lambda *_: Principal("oidc:u-1", until=until))
    assert json.loads(sign_in(api, "a.b.c").text)["until"] == until
    assert read(api, "session")["name"] == "oidc:u-1"
    clock(api).pass_(seconds=61)
    assert read(api, "session") == {"role": None}
