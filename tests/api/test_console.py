"""The console's files and its session, over HTTP."""

from __future__ import annotations

import json
import re
from base64 import urlsafe_b64encode
from pathlib import Path
from typing import Any

import pytest
from support.api import ADMIN, Api, app
from support.console import PAGE, SESSION, clock, read, sign_in

from functions import ethereum
from functions.api.auth import session
from functions.api.auth.session import COOKIE, SECONDS
from functions.api.auth.signature import checker_message
from functions.api.auth.tokens import Entry, digest
from functions.status.console.static_files import FOLDER

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


@pytest.mark.parametrize(
    "secret",
    [
        {"allowed_admins": ("another",)},
        {"postgres_password": "another"},
        {"operator_private_key": "0x" + "22" * 32},
        {"database_url": "postgresql://sluice:another@db.example/sluice"},
    ],
)
def test_a_session_of_another_servers_secrets_is_none(operator: Api, secret: dict[str, Any]) -> None:
    cookie = operator.status.get_cookie(COOKIE)
    assert cookie is not None
    other = Api(app(**secret))
    other.status.set_cookie(COOKIE, cookie.value)
    assert other.status.get("/console/api/overview", headers=PAGE).status_code == 401


@pytest.mark.parametrize(
    "payload",
    [b"[]", b"{}", b"null", b"no JSON", b"\xff", b'["operator", "", "soon", ""]', b'["owner", "", 9999999999, ""]'],
)
def test_a_signed_cookie_of_another_shape_is_no_session(operator: Api, payload: bytes) -> None:
    text = urlsafe_b64encode(payload).decode()
    settings = operator.app.settings
    operator.status.set_cookie(COOKIE, f"{text}.{session._signature(text, session._key(settings))}")
    assert operator.status.get("/console/api/overview", headers=PAGE).status_code == 401
    assert read(operator, "session") == {"role": None}


NO_SECRETS: dict[str, Any] = {"allowed_admins": ("",), "database_url": "sqlite:////srv/sluice.db"}


@pytest.mark.parametrize(
    "secret",
    [
        {},
        {"database_url": "postgresql://sluice@db.example:5432/sluice?sslmode=require"},
        {"database_url": "postgresql://db.example/sluice?options=@:@"},
    ],
)
def test_a_server_without_any_secret_makes_and_accepts_no_session(tmp_path: Path, secret: dict[str, Any]) -> None:
    api = Api(app(**NO_SECRETS | secret, tes_tokens_file=one_token(tmp_path)))
    response = sign_in(api, "t" * 43)
    assert (response.status_code, "Set-Cookie" in response.headers) == (403, False)
    assert json.loads(response.text) == {
        "error": "this server has no secret to sign sessions with; its operator must set ALLOWED_ADMINS"
    }
    api.status.set_cookie(COOKIE, "e30=.0")
    assert api.status.get("/console/api/overview", headers=PAGE).status_code == 401


@pytest.mark.parametrize(
    "secret",
    [
        {"allowed_admins": ("x",)},
        {"postgres_password": "x"},
        {"operator_private_key": "0x" + "11" * 32},
        {"database_url": "postgresql://sluice:x@db.example/sluice"},
        {"database_url": "postgresql:///sluice?host=db.example&password=x"},
    ],
)
def test_one_secret_is_enough_for_sessions(tmp_path: Path, secret: dict[str, Any]) -> None:
    api = Api(app(**NO_SECRETS | secret, tes_tokens_file=one_token(tmp_path)))
    assert sign_in(api, "t" * 43).status_code == 200
    assert read(api, "session")["name"] == "alice"


def one_token(folder: Path) -> str:
    (folder / "tokens").write_text(Entry(digest("t" * 43), "alice").line)
    return str(folder / "tokens")


FORGED = [
    {},
    {"Sluice-Console": "1", "Sec-Fetch-Site": "cross-site"},
    {"Sluice-Console": "1", "Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "same-origin"},
    {"Sluice-Console": "1", "Origin": "https://evil.example"},
    {"Sluice-Console": "1", "Origin": "http://localhost:8080"},
    {"Sluice-Console": "1", "Origin": "null"},
    {"Sluice-Console": "1"},
]


def test_a_browser_that_says_nothing_of_a_requests_origin_may_read_and_change_nothing(operator: Api) -> None:
    silent = {"Sluice-Console": "1"}
    assert json.loads(operator.status.get(SESSION, headers=silent).text)["role"] == "operator"
    assert operator.status.delete(SESSION, headers=silent).status_code == 403


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
    signature = ethereum.sign_text(key, checker_message("POST", SESSION, nonce))
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
