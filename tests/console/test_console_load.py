"""The console in a real browser, with many workflows, over a long time, and with servers that fail."""

from __future__ import annotations

import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.api import OWNER, Api, app
from support.browser import Open, served, signed_in

from functions.api.auth.tokens import Entry, digest
from functions.store.sql import SqlStore
from functions.workflow.model import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Route

pytestmark = pytest.mark.xdist_group("console")

HIDDEN = "Object.defineProperty(document, 'hidden', {value: true, configurable: true})"
SHOWN = "delete document.hidden, document.dispatchEvent(new Event('visibilitychange'))"
WORKFLOWS = 10_000
CROWD = f"""
    WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < {WORKFLOWS})
    INSERT INTO jobs (agreementid, workflowid, owner, provider, status, stopreq, namespace, workflow, phase,
                      datecreated, datefinished, ending, dialect)
    SELECT 'agreement-' || n, printf('%032x', n), 'owner-' || n % 1000, 'provider',
           CASE n % 50 WHEN 0 THEN 41 ELSE 70 END, 0, 'ocean-compute', '{{}}', 'finished',
           datetime('2026-01-01', n || ' seconds') || '.000000', '2026-02-01 00:00:00.000000',
           CASE n % 50 WHEN 0 THEN '{{"code": 41, "reason": "OOMKilled"}}' END, 'ocean'
    FROM numbers
"""


@pytest.fixture
def api() -> Api:
    return Api(app())


def test_a_server_that_fails_is_shown_and_the_page_recovers(api: Api, open_console: Open) -> None:
    with served(api) as url:
        visit = signed_in(open_console, url)
        page = visit.page
        page.get_by_text("No workflow matches.").wait_for()
        page.route(re.compile("/console/api/"), lambda route: route.abort())
        page.get_by_role("alert").get_by_text("The server does not answer").wait_for()
        page.unroute_all()
        job = api.start()["jobId"]
        page.get_by_role("link", name=job[:10]).wait_for()
        page.get_by_role("alert").wait_for(state="detached")
        visit.go("workflows/none")
        page.get_by_role("alert").get_by_text("there is no workflow none").wait_for()
        page.context.clear_cookies()
        visit.go("operations")
        page.get_by_label("Admin value or token").wait_for()


def test_the_list_waits_for_the_environments_that_stand_above_it(api: Api, open_console: Open) -> None:
    with served(api) as url:
        visit = signed_in(open_console, url)
        page = visit.page
        page.get_by_text("No workflow matches.").wait_for()
        kept: list[Route] = []
        page.route("**/console/api/overview", lambda route: kept.append(route))
        with page.expect_response(re.compile("/console/api/workflows")) as answered:
            page.reload()
        answered.value.finished()
        page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
        assert page.get_by_text("No workflow matches.").count() == 0
        kept[0].continue_()
        page.get_by_text("No workflow matches.").wait_for()
        assert visit.shifted < 0.01


def test_a_page_that_is_left_open_asks_less_and_less_often(api: Api, open_console: Open) -> None:
    job = api.start()["jobId"]
    with served(api) as url:
        visit = signed_in(open_console, url)
        page = visit.page
        asked: list[str] = []
        page.on("request", lambda request: asked.append(request.url) if "/api/workflows" in request.url else None)
        page.clock.install()
        page.reload()
        page.get_by_role("link", name=job[:10]).wait_for()

        def asked_in(minutes: int, *, at_a_time: int = 10) -> int:
            """How often the page asks in so many minutes, of which so many seconds pass at a time."""
            before = len(asked)
            for _ in range(minutes * 60 // at_a_time):
                page.clock.run_for(at_a_time * 1000)
                page.evaluate("fetch('/healthz').then((answer) => answer.text())")  # lets the page's own be answered
            return len(asked) - before

        assert 5 <= asked_in(3) <= 15
        assert 2 <= asked_in(15, at_a_time=30) <= 8
        page.locator(".pace.slow").wait_for()
        page.evaluate(HIDDEN)
        assert asked_in(10, at_a_time=30) <= 1
        page.evaluate(SHOWN)
        page.locator(".pace.live").wait_for()


def test_a_consumer_sees_the_own_workflow_and_its_log(tmp_path: Path, open_console: Open) -> None:
    file = tmp_path / "tokens"
    file.write_text(Entry(digest("t" * 43), OWNER).line)
    api = Api(app(tes_tokens_file=str(file)))
    mine, other = api.start(agreementId="0x1")["jobId"], api.start(agreementId="0x2", owner="0xother")["jobId"]
    api.end_stage(mine, Stage.CONFIGURE)
    with served(api) as url:
        visit = open_console(url)
        page = visit.page
        visit.go()
        visit.sign_in("t" * 43)
        page.get_by_role("link", name=mine[:10]).click()
        page.get_by_role("log", name="Log of algorithm").wait_for()
        assert page.get_by_role("table", name="History").count() == 0
        assert [each.inner_text() for each in page.locator(".tabs button").all()] == ["algorithm"]
        assert visit.violations() == []
        visit.go(f"workflows/{other}")
        page.get_by_role("alert").get_by_text("there is no workflow").wait_for()


def test_many_workflows_are_a_small_page(sqlite_url: str, open_console: Open) -> None:
    with closing(SqlStore(sqlite_url)) as store:
        with store.pool.transaction() as session:
            session.execute(CROWD)
        with served(Api(app(store))) as url:
            visit = signed_in(open_console, url)
            page = visit.page
            newest = page.locator(f'a[title="{WORKFLOWS:032x}"]')
            newest.wait_for()
            transferred = page.evaluate(
                "performance.getEntries().reduce((sum, each) => sum + (each.transferSize || 0), 0)"
            )
            assert 30_000 < transferred <= 100_000
            assert page.locator("tbody tr").count() == 50
            page.get_by_role("link", name="Older").click()
            page.locator(f'a[title="{WORKFLOWS - 50:032x}"]').wait_for()
            page.get_by_label("State").select_option("Failed")
            newest.wait_for()
            assert page.locator("tbody tr", has_text="OOMKilled").count() == 50
            assert visit.shifted < 0.05
