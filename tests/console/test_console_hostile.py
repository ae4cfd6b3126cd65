"""The console in a real browser, against hostile texts and hostile pages."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest
from support.api import ADMIN, Api, app
from support.browser import Open, served, signed_in
from support.serving import serving
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

from functions.workflow.model import Manifest, ResultFile

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.xdist_group("console")

PAYLOADS = (
    "javascript:hacked=1",
    "<img src=x onerror=hacked=1>",
    "<script>hacked=1</script>",
    '"><svg onload=hacked=1>',
    "' autofocus onfocus=hacked=1 x='",
    "</title></textarea></style><iframe srcdoc='<script>parent.hacked=1</script>'>",
    "{{constructor.constructor('hacked=1')()}}${hacked=1}",
    "\u202e<b>x",
)
TIME = "2026-12-04T11:15:07Z"
HELD = {
    "jobId": "j",
    "environment": "e",
    "policy": ["p", "q"],
    "until": TIME,
    "phase": "held",
    "verdict": "review",
    "findings": 2,
    "approvals": {"given": 0, "needed": 1},
}
FINDING = {"rule": "r", "level": "review", "text": "t"}
REPORT = {"notes": ["n"], "files": [{"path": "f.svg", "verdict": "review", "findings": [FINDING]}]}
RAN = {
    "algorithm": PAYLOADS[0],
    "images": [PAYLOADS[0]],
    "inputs": [{"path": PAYLOADS[0], "size": 1, "sha256": PAYLOADS[0]}],
}
DECISION = {"by": "b", "at": TIME, "text": json.dumps({"verdict": PAYLOADS[0], "reason": PAYLOADS[0]})}
FILE = {"index": 0, "path": "f.svg", "size": 3, "sha256": "s", "blocked": False}
UNDELIVERED = {"event": "e", "about": "a", "since": TIME, "tries": 1}
ANSWERS: dict[str, Any] = {
    "/operator/held/": {**HELD, "head": "h", "decisions": [DECISION], "report": REPORT, "files": [FILE], "ran": RAN},
    "/operator/held": {"held": [HELD], "undelivered": [UNDELIVERED]},
    "/operator/dead-letters": [{"event_id": "i", "at": "1795312226.4", "reason": "r", "event": {"key": ["value"]}}],
    "/operator/freeze": [{"scope": "s", "at": TIME, "by": "b", "reason": "r"}],
}
SVG = (
    "<svg xmlns='http://www.w3.org/2000/svg' onload='parent.hacked=1'><script>parent.hacked=1</script>"
    "<image href='http://192.0.2.1/x'/></svg>"
)
SUSPECT = "[...document.querySelectorAll('script, iframe, svg, [onerror], [onload], [onfocus], [srcdoc]')].length"


@pytest.fixture
def api() -> Api:
    return Api(app())


def hostile(value: Any, payload: str) -> Any:
    """The value with the payload in place of each text that is no number, no time and no JSON."""
    if isinstance(value, dict):
        return {key: hostile(each, payload) for key, each in value.items()}
    if isinstance(value, list):
        return [hostile(each, payload) for each in value]
    is_text = isinstance(value, str) and not re.fullmatch(r"[\d.]*|\d{4}-\d\d-\d\dT.*Z|\{.*\}", value)
    return payload if is_text else value


def pages(api: Api) -> tuple[str, dict[str, Any]]:
    """A finished workflow, and what the console reads of it and of all others."""
    file = ResultFile("outputs/a.csv", 4, "output", "file:///x", sha256="ab" * 32)
    job = api.finished(Manifest((file,), (file,), ("a warning",)))
    paths = (f"/console/api/workflows/{job}", "/console/api/workflows", "/console/api/overview")
    read = {path: json.loads(api.status.get(path, headers=ADMIN).text) for path in paths}
    read["/console/api/overview"]["freezes"] = ANSWERS["/operator/freeze"]
    return job, {**read, **ANSWERS}


def test_no_text_of_any_field_becomes_markup(api: Api, open_console: Open) -> None:
    job, answers = pages(api)
    payload = " ".join(PAYLOADS)
    requested: list[str] = []

    def answer(route: Route) -> None:
        path = route.request.url
        if path.endswith("/session"):
            route.continue_()
        elif "/heldFile" in path:
            route.fulfill(body=SVG)
        elif "/logs" in path:
            route.fulfill(body=f"id: 1:1\ndata: {json.dumps(payload)}\n\nevent: end\ndata: {{}}\n\n")
        else:
            route.fulfill(json=hostile(next(value for part, value in answers.items() if part in path), payload))

    with served(api) as url:
        visit = signed_in(open_console, url, wallet="0x" + "11" * 32)
        page = visit.page
        page.on("request", lambda request: requested.append(request.url))
        page.route(re.compile("/api/"), answer)
        for path in ("", f"workflows/{job}", "held", "held/j", "operations"):
            visit.go(path)
            page.reload()
            page.get_by_text(payload).first.wait_for(state="attached")
            if path == "held/j":
                page.get_by_role("button", name="Look at it").click()
                page.locator(".preview, .file > .muted").last.wait_for()
            assert page.evaluate(SUSPECT) == 1, path
            assert page.locator("a:not([href^='#'])").count() == 0, path
            assert page.evaluate("typeof hacked") == "undefined", path
    assert [each for each in requested if not each.startswith((url, "data:"))] == []


def test_a_hostile_picture_is_shown_and_runs_nothing(api: Api, open_console: Open) -> None:
    with served(api) as url:
        visit = signed_in(open_console, url, wallet="0x" + "11" * 32)
        page = visit.page
        requested: list[str] = []
        page.on("request", lambda request: requested.append(request.url))
        page.route(re.compile("/operator/held/"), lambda route: route.fulfill(json=ANSWERS["/operator/held/"]))
        page.route(re.compile("/operator/heldFile"), lambda route: route.fulfill(body=SVG))
        visit.go("held/j")
        page.get_by_role("button", name="Look at it").click()
        page.get_by_role("img", name="Picture f.svg").wait_for(state="attached")
        page.wait_for_function("document.querySelector('.preview img').complete")
        assert page.evaluate("typeof hacked") == "undefined"
        assert [each for each in requested if not each.startswith((url, "data:"))] == []


@contextmanager
def another_site(target: str) -> Iterator[str]:
    """A page on another port of this machine, so on the same site, which tries to freeze everything."""
    html = f"""<form action="{target}?scope=all" method="post" target="frame"></form>
        <iframe name="frame"></iframe><script>
        const send = (options) => fetch("{target}", {{
            method: "POST", credentials: "include", body: '{{"scope": "all"}}', ...options }}).catch(() => 0);
        const json = {{"Content-Type": "application/json"}};
        Promise.all([
            send({{mode: "no-cors"}}),
            fetch("{target}?scope=all", {{method: "POST", mode: "no-cors", credentials: "include"}}),
            send({{headers: json}}),
            send({{headers: {{...json, "Sluice-Console": "1"}}}}),
            new Promise((done) => {{ document.querySelector("iframe").onload = done; document.forms[0].submit(); }}),
        ]).then(() => document.title = "done");
        </script>"""

    def site(environ: Any, start_response: Any) -> Any:
        return Response(html, content_type="text/html")(environ, start_response)

    with serving(make_server("127.0.0.1", 0, site, threaded=True)) as server:
        yield f"http://127.0.0.1:{server.server_port}"


def test_a_page_of_another_origin_changes_nothing(api: Api, open_console: Open) -> None:
    with served(api) as url, another_site(f"{url}/api/v1/operator/freeze") as other:
        visit = signed_in(open_console, url)
        visit.page.goto(other)
        visit.page.wait_for_function("document.title === 'done'")
        visit.errors.clear()  # Chromium logs what it refuses
        assert api.app.store.freezes() == []
        visit.go("operations")
        visit.page.get_by_label("Scope").fill("all")
        visit.page.get_by_role("button", name="Freeze", exact=True).click()
        visit.page.get_by_role("row", name=re.compile("^all")).wait_for()
        assert [each.scope for each in api.app.store.freezes()] == ["all"]
