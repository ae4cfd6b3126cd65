"""The console's layout in a real browser: narrow screens, long names, and addresses that are wrong."""

from __future__ import annotations

import re
from copy import deepcopy
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from support.api import DOCUMENT, Api, app
from support.browser import DESK, PHONE, Open, served, signed_in

from functions.workflow.model import Stage

if TYPE_CHECKING:
    from playwright.sync_api import Locator

pytestmark = pytest.mark.xdist_group("console")

DID = "did:op:" + "0123456789abcdef" * 4  # as long as those of Ocean
SMALL = {"width": 320, "height": 640}
OVERFLOWING = """[...document.querySelectorAll('dt, dd, td, .notice, .copied')]
    .filter((each) => each.scrollWidth > each.clientWidth + 1 && getComputedStyle(each).display !== 'inline')
    .map((each) => each.outerHTML)"""


@pytest.fixture
def api() -> Api:
    return Api(app())


def overlapping(shown: Locator) -> list[str]:
    """The elements, in one row, whose text reaches into that of the next."""
    edges = [
        each.evaluate("(e) => { const r = document.createRange(); r.selectNodeContents(e); "
                      "const b = r.getBoundingClientRect(); return [b.left, b.right, e.textContent]; }")
        for each in shown.all()
        if each.is_visible()
    ]  # fmt: skip
    assert len(edges) > 1
    return [f"{left[2]} {right[2]}" for left, right in pairwise(edges) if left[1] > right[0]]


@pytest.mark.parametrize("size", [PHONE, SMALL])
def test_an_operators_header_and_time_axis_are_readable_on_a_phone(
    api: Api, open_console: Open, size: dict[str, int]
) -> None:
    job = api.finished()
    with served(api) as url:
        visit = signed_in(open_console, url, viewport=size, locale="en-US")  # times as `11:15:07 AM`
        links = visit.page.get_by_role("navigation").get_by_role("link")
        assert overlapping(links) == []
        visit.go(f"workflows/{job}")
        visit.page.get_by_role("heading", name="Timeline").wait_for()
        assert overlapping(visit.page.locator(".axis span")) == []


@pytest.mark.parametrize("size", [PHONE, DESK])
def test_a_data_set_with_a_long_identifier_fits_the_page(api: Api, open_console: Open, size: dict[str, int]) -> None:
    document = deepcopy(DOCUMENT)
    document["stages"][0]["input"][0]["id"] = DID
    job = api.start(workflow=document)["jobId"]
    with served(api) as url:
        visit = signed_in(open_console, url, viewport=size)
        visit.go(f"workflows/{job}")
        visit.page.get_by_text(f"Data: {DID}").wait_for()
        assert visit.page.evaluate(OVERFLOWING) == []
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= size["width"]


def test_a_button_in_a_narrow_table_keeps_its_word_whole(api: Api, open_console: Open) -> None:
    with served(api) as url:
        visit = signed_in(open_console, url, viewport=PHONE)
        page = visit.page
        visit.go("operations")
        page.get_by_label("Scope").fill(f"data:{DID}")
        page.get_by_label("Reason").fill("somebody found rows of patients in a table")
        page.get_by_role("button", name="Freeze", exact=True).click()
        lift = page.get_by_role("button", name="Lift the freeze")
        lift.wait_for()
        assert lift.evaluate("(each) => each.scrollHeight") < 60


def test_a_freeze_that_is_refused_keeps_what_was_typed(api: Api, open_console: Open) -> None:
    with served(api) as url:
        visit = signed_in(open_console, url)
        page = visit.page
        visit.go("operations")
        page.get_by_label("Scope").fill("enviroment:ocean-compute")
        page.get_by_label("Reason").fill("maintenance")
        page.get_by_role("button", name="Freeze", exact=True).click()
        page.get_by_role("alert").get_by_text("expected `all`").wait_for()
        assert page.get_by_label("Reason").input_value() == "maintenance"
        page.get_by_label("Scope").fill("environment:ocean-compute")
        page.get_by_role("button", name="Freeze", exact=True).click()
        page.get_by_role("row", name=re.compile("environment:ocean-compute")).get_by_text("maintenance").wait_for()
        assert page.get_by_label("Scope").input_value() == ""


@pytest.mark.parametrize("path", ["workflows/%E0", "held/%", "nowhere/%zz", "workflows/a%2Fb"])
def test_a_wrong_address_shows_a_page_and_no_other_workflow(api: Api, open_console: Open, path: str) -> None:
    job = api.start()["jobId"]
    api.end_stage(job, Stage.CONFIGURE)
    with served(api) as url:
        visit = signed_in(open_console, url)
        visit.go(f"workflows/{job}")
        visit.page.get_by_role("heading", name="Timeline").wait_for()
        visit.go(path)
        visit.page.get_by_role("heading", name="Timeline").wait_for(state="detached")
        visit.page.locator("main .notice, main .environments").first.wait_for()
