"""The console over HTTP: its files, its session, and what its pages read."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from support.api import ADMIN, OWNER, Api, Clock
from werkzeug.test import TestResponse

from functions import ethereum
from functions.api.auth.reader import text_to_sign
from functions.api.auth.session import COOKIE, SECONDS
from functions.status.console.files import FOLDER
from functions.workflow.model import Manifest, ResultFile, Stage

PAGE = {"Sluice-Console": "1", "Sec-Fetch-Site": "same-origin"}
SESSION = "/console/api/session"


@pytest.fixture
def operator(api: Api) -> Api:
    """An API whose client has signed in as an operator."""
    assert sign_in(api).status_code == 200
    return api


def sign_in(api: Api, admin: str = ADMIN["Admin"], headers: dict[str, str] | None = None) -> TestResponse:
    return api.status.post(SESSION, json={"admin": admin}, headers=PAGE if headers is None else headers)


def read(api: Api, path: str, **params: str) -> Any:
    response = api.status.get(f"/console/api/{path}", query_string=params, headers=PAGE)
    assert response.status_code == 200, response.text
    return json.loads(response.text)


def clock(api: Api) -> Clock:
    assert isinstance(api.app.clock, Clock)
    return api.app.clock


# --- files ----------------------------------------------------------------------------------


def test_the_page_and_all_that_it_loads_are_served_from_the_package(api: Api) -> None:
    names = {file.name for file in FOLDER.iterdir()}
    page = api.status.get("/console/")
    assert page.status_code == 200
    assert set(re.findall(r'(?:src|href)="([^"#]+)"', page.text)) <= names
    for name in names:
        served = api.status.get(f"/console/{name}")
        assert served.status_code == 200
        imported = re.findall(r'from "\./(.+?)"', served.text)
        assert set(imported) <= names


def test_the_console_is_small_and_loads_nothing_from_other_hosts() -> None:
    files = list(FOLDER.iterdir())
    assert sum(file.stat().st_size for file in files) <= 60_000
    for file in files:
        assert set(re.findall(r"https?://[^\"' )]+", file.read_text())) <= {"http://www.w3.org/2000/svg"}, file.name


def test_no_text_can_become_markup() -> None:
    for file in FOLDER.glob("*.js"):
        assert not re.search(
            r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|Function\(", file.read_text()
        )


def test_the_policy_of_the_page_allows_only_its_own_scripts_and_no_inline_script(api: Api) -> None:
    page = api.status.get("/console/")
    policy = dict(part.strip().split(" ", 1) for part in page.headers["Content-Security-Policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert not re.search(r"<script(?![^>]* src=)|<style| style=| on\w+=", page.text)


@pytest.mark.parametrize("name", ["..%2fviews.py", "../views.py", "none.js", "%00", "x" * 300])
def test_other_files_are_not_served(api: Api, name: str) -> None:
    assert api.status.get(f"/console/{name}").status_code == 404


# --- the session ----------------------------------------------------------------------------


def test_the_admin_value_becomes_a_cookie_that_scripts_and_other_sites_cannot_use(api: Api) -> None:
    response = sign_in(api)
    set_cookie = response.headers["Set-Cookie"]
    assert {"HttpOnly", "SameSite=Strict", "Path=/", f"Max-Age={SECONDS}"} <= set(set_cookie.split("; "))
    assert ADMIN["Admin"].lower() not in set_cookie.lower()
    assert json.loads(response.text)["role"] == "operator"
    assert read(api, "workflows") == {"workflows": [], "next": None}


def test_over_tls_the_cookie_is_sent_over_tls_only(api: Api) -> None:
    response = sign_in(api, headers={**PAGE, "Origin": "https://sluice.example.org"})
    assert "Secure" in response.headers["Set-Cookie"].split("; ")


def test_a_wrong_admin_value_opens_nothing(api: Api) -> None:
    response = sign_in(api, "guessed")
    assert response.status_code == 401
    assert "Set-Cookie" not in response.headers
    assert json.loads(api.status.get(SESSION, headers=PAGE).text) == {"role": None}


def test_a_session_ends_after_its_time(operator: Api) -> None:
    clock(operator).pass_(seconds=SECONDS - 1)
    assert operator.status.get("/console/api/overview", headers=PAGE).status_code == 200
    clock(operator).pass_(seconds=2)
    response = operator.status.get("/console/api/overview", headers=PAGE)
    assert (response.status_code, "sign in again" in response.text) == (401, True)


def test_who_signs_out_is_signed_out(operator: Api) -> None:
    assert operator.status.delete(SESSION, headers=PAGE).status_code == 200
    assert operator.status.get("/console/api/overview", headers=PAGE).status_code == 401


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text[:-1] + ("1" if text[-1] == "0" else "0"),
        lambda text: "x" + text,
        lambda _: "a.b",
        lambda _: "é",
    ],
)
def test_a_changed_cookie_is_no_session(operator: Api, change: Any) -> None:
    cookie = operator.status.get_cookie(COOKIE)
    assert cookie is not None
    operator.status.set_cookie(COOKIE, change(cookie.value))
    assert operator.status.get("/console/api/overview", headers=PAGE).status_code == 401


def test_a_session_of_another_servers_secrets_is_none(operator: Api) -> None:
    cookie = operator.status.get_cookie(COOKIE)
    assert cookie is not None
    from support.api import app

    other = Api(app(allowed_admins=("another",)))
    other.status.set_cookie(COOKIE, cookie.value)
    assert other.status.get("/console/api/overview", headers=PAGE).status_code == 401


FORGED = [
    {},
    {"Sluice-Console": "1", "Sec-Fetch-Site": "cross-site"},
    {"Sluice-Console": "1", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sluice-Console": "1", "Origin": "https://evil.example"},
    {"Sluice-Console": "1", "Origin": "null"},
    {"Sluice-Console": "1"},
]


@pytest.mark.parametrize("headers", FORGED)
def test_a_request_of_another_site_changes_nothing_with_the_cookie(operator: Api, headers: dict[str, str]) -> None:
    cookie = operator.status.get_cookie(COOKIE)
    assert cookie is not None
    operator.submit.set_cookie(COOKIE, cookie.value)
    body = {"scope": "all", "reason": "x"}
    response = operator.submit.post("/api/v1/operator/freeze", json=body, headers=headers)
    assert response.status_code in (400, 401)
    assert sign_in(operator, headers=headers).status_code == 403
    assert operator.status.delete(SESSION, headers=headers).status_code == 403
    assert operator.app.store.freezes() == []


def test_the_console_itself_may_change_something(operator: Api) -> None:
    cookie = operator.status.get_cookie(COOKIE)
    assert cookie is not None
    operator.submit.set_cookie(COOKIE, cookie.value)
    body = {"scope": "all", "reason": "x"}
    over_http = {"Sluice-Console": "1", "Origin": "http://localhost"}
    for headers in (PAGE, over_http):
        assert operator.submit.post("/api/v1/operator/freeze", json=body, headers=headers).status_code == 200
    assert [each["scope"] for each in read(operator, "overview")["freezes"]] == ["all"]


def test_no_preflight_allows_the_consoles_header(api: Api) -> None:
    for path in ("/api/v1/operator/freeze", SESSION):
        response = api.status.options(path)
        assert "sluice-console" not in response.headers["Access-Control-Allow-Headers"].lower()
        assert "Access-Control-Allow-Credentials" not in response.headers


def test_a_checker_signs_in_with_the_wallet_and_is_no_operator(api: Api) -> None:
    nonce = str(api.nonce())
    key = "0x" + "44" * 32
    signature = ethereum.sign_text(key, text_to_sign("POST", SESSION, nonce))
    headers = {**PAGE, "Authorization": f"Checker {nonce}:{signature}"}
    response = api.status.post(SESSION, headers=headers)
    assert json.loads(response.text)["name"] == ethereum.address(key).lower()
    assert api.status.get("/api/v1/operator/held", headers=PAGE).status_code == 200
    assert api.status.get("/console/api/workflows", headers=PAGE).status_code == 403
    assert api.status.get("/api/v1/operator/dead-letters", headers=PAGE).status_code == 403
    assert api.status.post(SESSION, headers=headers).status_code == 401  # the nonce is used up


def test_on_a_laptop_nobody_needs_to_sign_in() -> None:
    from support.api import app

    api = Api(app(open_admin=True, allowed_admins=()))
    assert json.loads(api.status.get(SESSION, headers=PAGE).text)["open"] is True
    assert read(api, "workflows")["workflows"] == []


# --- what the pages read --------------------------------------------------------------------


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
    assert body["what"]["algorithm"]["image"] == "node@sha256:abc"
    record = operator.app.store.get(job)  # type: ignore[arg-type]
    assert record is not None
    for hidden in ("secret/place", record.submission.secret, "console.log"):
        assert hidden not in shown.text


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
    from functions.workflow.model import Outcome, WorkflowId
    from functions.workflow.observation import StageEnded

    job = operator.start()["jobId"]
    operator.end_stage(job, Stage.CONFIGURE)
    operator.app.transitions.apply(WorkflowId(job), StageEnded(Stage.ALGORITHM, 1, None, Outcome.FAILED, 3), "test")
    operator.end_stage(job, Stage.PUBLISH)
    (row,) = read(operator, "workflows", state="failed")["workflows"]
    assert (row["id"], row["reason"]) == (job, "AlgorithmExit:3")
