"""The console in a real browser, on a real laptop: what operators and checkers do with it."""

from __future__ import annotations

import json
import os
import re
import shlex
from pathlib import Path

import pytest
from support.browser import ADMIN, PHONE, Open, Visit
from support.laptop import ROOT, Laptop, document, until

from functions.ethereum import address

pytestmark = pytest.mark.xdist_group("console")

CHECKER = "0x" + "11" * 32  # the key of checker-17
PENGUINS = ROOT / "examples" / "penguins" / "workflow.json"
IMAGES = ROOT / "docs" / "images"
LARGEST_IMAGE = 150_000  # bytes
COUNTS = "for n in 1 2 3 4 5 6 7 8; do echo epoch $n; sleep 0.3; done; echo a,b > $OUTPUTS/table.csv"


@pytest.fixture
def operator(laptop: Laptop, open_console: Open) -> Visit:
    """The console of somebody who has signed in with the Admin value."""
    visit = open_console(laptop.url)
    visit.go()
    visit.sign_in(ADMIN)
    visit.page.get_by_role("heading", name="ocean-compute").wait_for()
    return visit


@pytest.fixture(scope="module")
def held(laptop: Laptop) -> str:
    """A job whose results wait for checker-17: the penguins, with files next to their document."""
    stage = json.loads(PENGUINS.read_text())
    for each in stage["stages"][0]["input"]:
        each["url"] = [(PENGUINS.parent / url).as_uri() if "://" not in url else url for url in each["url"]]
    algorithm = stage["stages"][0]["algorithm"]
    algorithm["rawcode"] = (PENGUINS.parent / "algorithm.py").read_text()
    algorithm.pop("url", None)
    return laptop.submit(stage)


def picture(visit: Visit, name: str, folder: Path) -> None:
    """Take a screenshot for docs/console.md. SLUICE_SCREENSHOTS=1 keeps it there."""
    place = IMAGES if os.environ.get("SLUICE_SCREENSHOTS") else folder
    place.mkdir(exist_ok=True)
    visit.page.screenshot(path=place / f"console-{name}.png", animations="disabled")
    assert (place / f"console-{name}.png").stat().st_size <= LARGEST_IMAGE


def test_a_wrong_secret_is_refused_and_the_admin_value_opens_the_console(laptop: Laptop, open_console: Open) -> None:
    visit = open_console(laptop.url)
    page = visit.page
    visit.go()
    visit.sign_in("guessed")
    page.get_by_role("alert").get_by_text("neither an Admin value").wait_for()
    assert visit.violations() == []
    visit.sign_in(ADMIN)
    page.get_by_role("navigation").get_by_role("link", name="Operations").wait_for()
    assert page.evaluate("document.cookie") == ""
    assert ADMIN not in page.url + page.content()
    page.reload()
    page.get_by_role("button", name="Sign out").click()
    page.get_by_label("Admin value or token").wait_for()


def test_a_running_workflow_is_followed_to_its_end(laptop: Laptop, operator: Visit, tmp_path: Path) -> None:
    job = laptop.submit(document(COUNTS))
    page = operator.page
    page.get_by_role("link", name=job[:10]).click()
    page.get_by_role("log", name="Log of algorithm").get_by_text("epoch 2").wait_for()
    running = page.locator(".timeline .bar.running")
    assert running.count() == 1
    page.get_by_role("log", name="Log of algorithm").get_by_text("epoch 8").wait_for()
    page.locator(".title .pill.succeeded").wait_for()
    assert running.count() == 0
    for stage in ("queue", "configure", "algorithm", "publish"):
        page.locator(".lane-name", has_text=re.compile(f"^{stage}$")).hover()
        assert page.locator(".timeline li", has_text=stage).locator(".tip").is_visible()
    results = page.get_by_role("table", name="Results")
    results.get_by_role("row", name=re.compile("table.csv 4 B output [0-9a-f]{12}")).wait_for()
    page.get_by_role("table", name="History").get_by_text("publish → finished").wait_for()
    page.get_by_role("button", name="publish").click()
    page.get_by_role("log", name="Log of publish").get_by_text("published files: 2").wait_for()
    page.get_by_role("button", name="algorithm").click()
    page.get_by_role("log", name="Log of algorithm").get_by_text("epoch 8").wait_for()
    assert operator.violations() == []
    page.evaluate("scrollTo(0, 0)")
    picture(operator, "workflow", tmp_path)


def test_the_list_shows_a_new_workflow_by_itself_and_is_filtered(
    laptop: Laptop, operator: Visit, tmp_path: Path
) -> None:
    page = operator.page
    failed = laptop.submit(document("exit 3"))
    row = page.get_by_role("row", name=re.compile(failed[:10]))
    row.get_by_text("Failed").wait_for()
    assert "AlgorithmExit:3" in row.inner_text()
    picture(operator, "list", tmp_path)
    page.get_by_label("State").select_option("Failed")
    page.wait_for_url(re.compile("state=failed"))
    page.get_by_role("link", name=failed[:10]).wait_for()
    assert page.get_by_role("cell", name="Succeeded").count() == 0
    page.get_by_label("Id").fill(failed[:6])
    page.get_by_label("Id").press("Enter")
    page.wait_for_url(re.compile(f"id={failed[:6]}"))
    page.get_by_role("link", name=failed[:10]).click()
    page.get_by_role("alert").get_by_text("AlgorithmExit:3, exit code 3").wait_for()
    page.go_back()
    assert page.get_by_label("State").input_value() == "failed"
    assert operator.violations() == []
    assert operator.shifted < 0.05


def test_a_checker_looks_at_held_files_and_releases_some(
    laptop: Laptop, held: str, open_console: Open, tmp_path: Path
) -> None:
    visit = open_console(laptop.url, wallet=CHECKER)
    page = visit.page
    visit.go("held")
    page.get_by_role("button", name="Sign in with your wallet").click()
    page.get_by_role("link", name=held[:10]).click()
    assert [each.inner_text() for each in page.get_by_role("navigation").get_by_role("link").all()] == ["Held"]
    chart = page.locator(".file", has_text="penguins.svg")
    chart.get_by_text("387 marks").wait_for()
    table = page.locator(".file", has_text="statistics.csv")
    table.get_by_role("button", name="Look at it").click()
    table.get_by_role("cell", name="Adelie").first.wait_for()
    chart.get_by_role("button", name="Look at it").click()
    image = chart.get_by_role("img")
    until(lambda: image.evaluate("(each) => each.naturalWidth"), lambda width: width > 0)
    table.get_by_label("Release").check()
    page.locator(".file", has_text="statistics.json").get_by_label("Release").check()
    assert chart.get_by_label("Withhold").is_checked()
    page.get_by_label("Reason").fill("it's one mark for each bird")
    assert visit.violations() == []
    page.evaluate("scrollTo(0, 0)")
    picture(visit, "review", tmp_path)
    page.get_by_text("Commands to paste").click()
    command = shlex.split(page.locator(".command pre").first.inner_text())
    assert command[:3] == ["sluice", "release", held]
    assert command[3:7] == ["--withhold", "outputs/penguins.svg", "--reason", "it's one mark for each bird"]
    page.get_by_role("button", name="Sign: release 2 of 3").click()
    page.locator(".notice", has_text="The results are released.").wait_for()
    visit.go("held")
    page.get_by_text("Nothing waits for a decision.").wait_for()


def test_an_operator_sees_what_was_decided_and_by_whom(laptop: Laptop, held: str, operator: Visit) -> None:
    page = operator.page
    operator.go(f"workflows/{held}")
    page.locator(".title .pill.succeeded").wait_for()
    page.locator(".lane-name", has_text="held").wait_for()
    page.get_by_role("table", name="History").get_by_text(address(CHECKER).lower()).first.wait_for()
    names = page.get_by_role("table", name="Results").inner_text()
    assert "statistics.csv" in names
    assert "penguins.svg" not in names
    for stated in ("algorithm", "inputs", "outputs"):
        assert page.locator("dt", has_text=re.compile(f"^{stated}$")).count() == 1


def test_a_freeze_is_made_shown_and_lifted(operator: Visit, tmp_path: Path) -> None:
    page = operator.page
    page.get_by_role("link", name="Operations").click()
    page.get_by_label("Scope").fill("nonsense")
    page.get_by_role("button", name="Freeze", exact=True).click()
    page.get_by_role("alert").get_by_text("expected `all`").wait_for()
    page.get_by_label("Scope").fill("environment:elsewhere")
    page.get_by_label("Reason").fill("maintenance")
    page.get_by_role("button", name="Freeze", exact=True).click()
    page.get_by_role("row", name=re.compile("environment:elsewhere")).get_by_text("maintenance").wait_for()
    assert operator.violations() == []
    picture(operator, "operations", tmp_path)
    page.get_by_role("link", name="Workflows").click()
    page.get_by_text("Frozen: environment:elsewhere").wait_for()
    page.get_by_role("link", name="Operations").click()
    page.get_by_role("button", name="Lift the freeze of environment:elsewhere").click()
    page.get_by_text("Nothing is frozen.").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_pages_fit_a_phone_and_are_accessible(laptop: Laptop, open_console: Open, held: str, scheme: str) -> None:
    visit = open_console(laptop.url, viewport=PHONE, color_scheme=scheme)
    page = visit.page
    visit.go()
    visit.sign_in(ADMIN)
    page.get_by_role("link", name=held[:10]).wait_for()
    for path, shown in (
        ("", held[:10]),
        (f"workflows/{held}", "Timeline"),
        ("held", "Held results"),
        ("operations", "Freezes"),
    ):
        visit.go(path)
        page.get_by_text(shown, exact=False).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], path
        assert visit.violations() == [], path


def test_the_console_works_with_the_keyboard_alone(operator: Visit, held: str) -> None:
    page = operator.page
    page.reload()
    page.get_by_role("link", name=held[:10]).wait_for()
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
    page.keyboard.press("Enter")
    while page.evaluate("document.activeElement.title") != held:
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Timeline").wait_for()
    assert page.evaluate("document.activeElement.id") == "main"
    while "queue" not in page.evaluate("document.activeElement.textContent.slice(0, 9)"):
        page.keyboard.press("Tab")
    assert page.locator(".timeline li:focus .tip").is_visible()
