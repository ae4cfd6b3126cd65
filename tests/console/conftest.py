"""One Chromium for all tests, and the laptop that they look at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.browser import ADMIN, CHROMIUM, Open, Visit, open_page
from support.laptop import ROOT, Laptop

if TYPE_CHECKING:
    from playwright.sync_api import Browser


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("there is no Chromium here; `apt-get install chromium` adds it")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        arguments = ["--no-sandbox", "--disable-gpu", "--in-process-gpu"]
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def open_console(browser: Browser) -> Iterator[Open]:
    """Opens pages that must not log an error, raise one, or open a dialog."""
    visits: list[Visit] = []

    def open_one(url: str, **context: Any) -> Visit:
        visits.append(open_page(browser, url, **context))
        return visits[-1]

    yield open_one
    for each in visits:
        each.page.context.close()
    assert [error for each in visits for error in each.errors] == []


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory, browser: Browser) -> Iterator[Laptop]:
    """A laptop with the policy of the penguins, where an operator signs in."""
    policies: Path = ROOT / "examples" / "review" / "policies.yaml"
    settings = [f"POLICIES_FILE={policies}", f'ALLOWED_ADMINS=["{ADMIN}"]', "SLUICE_OPEN_ADMIN=0"]
    laptop = Laptop(tmp_path_factory.mktemp("console") / "sluice", *settings)
    laptop.start()
    yield laptop
    laptop.kill_everything()
