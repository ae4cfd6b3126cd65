"""A browser for the console's tests: Debian's Chromium, driven by playwright."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.api import ADMIN as ADMIN_HEADER
from support.api import Api
from support.serving import serving
from werkzeug.serving import make_server

from functions import ethereum

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

ADMIN = "console-admin"  # of the laptop that the browser visits
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1280, "height": 800}
_CHANGES = ("/decisions", "/freeze", "/revoke", "/release")
_WALLET = """
window.ethereum = { request: async ({ method, params }) =>
    method === "personal_sign" ? await walletSign(params[0]) : [await walletAddress()] };
"""
_SHIFTS = """
window.shifted = 0;
new PerformanceObserver((list) => {
    for (const each of list.getEntries()) if (!each.hadRecentInput) window.shifted += each.value;
}).observe({ type: "layout-shift", buffered: true });
"""


class Visit:
    """A page of the console, and what went wrong in it."""

    def __init__(self, page: Page, url: str) -> None:
        self.page = page
        self.url = url
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._listen)
        page.on("dialog", lambda dialog: self.errors.append(f"dialog {dialog.message}"))

    def _listen(self, message: ConsoleMessage) -> None:
        # Chromium logs each failed request by itself; the page shows it.
        if message.type == "error" and not message.text.startswith("Failed to load resource"):
            self.errors.append(message.text)

    def go(self, path: str = "") -> None:
        """Open a page by what follows #/ in its address."""
        self.page.goto(f"{self.url}/console/#/{path}")

    def sign_in(self, secret: str) -> None:
        self.page.get_by_label("Admin value or token").fill(secret)
        self.page.get_by_role("button", name="Sign in", exact=True).click()

    def violations(self) -> list[str]:
        """What axe finds against WCAG 2.2 AA and its best practices."""
        import axe_playwright_python

        if self.page.evaluate("typeof axe") == "undefined":
            self.page.evaluate(Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text())
        found: Mapping[str, Any] = self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [f"{each['id']}: {node['html'][:200]}" for each in found["violations"] for node in each["nodes"]]

    @property
    def shifted(self) -> float:
        """The cumulative layout shift."""
        return float(self.page.evaluate("window.shifted"))


Open = Callable[..., Visit]


def open_page(browser: Browser, url: str, *, wallet: str | None = None, **context: Any) -> Visit:
    """A new page in a context of its own. `wallet`: the key of the wallet in this browser."""
    options: dict[str, Any] = {"viewport": DESK, "reduced_motion": "reduce", "locale": "en-GB", **context}
    page = browser.new_context(**options).new_page()
    page.set_default_timeout(60_000)
    page.add_init_script(_SHIFTS)
    if wallet is not None:
        page.expose_function("walletAddress", lambda: ethereum.address(wallet))
        page.expose_function("walletSign", lambda text: ethereum.sign_text(wallet, bytes.fromhex(text[2:]).decode()))
        page.add_init_script(_WALLET)
    return Visit(page, url)


def signed_in(open_console: Open, url: str, **context: Any) -> Visit:
    """The console of an operator of `support.api`."""
    visit = open_console(url, **context)
    visit.go()
    visit.sign_in(ADMIN_HEADER["Admin"])
    visit.page.get_by_role("button", name="Sign out").wait_for()
    return visit


@contextmanager
def served(api: Api) -> Iterator[str]:
    """The functions submit and status behind one address, as the gateway serves them."""

    def gateway(environ: Any, start_response: Any) -> Any:
        changes = environ["REQUEST_METHOD"] in ("POST", "DELETE") and environ["PATH_INFO"].endswith(_CHANGES)
        return (api.submit if changes else api.status).application(environ, start_response)

    with serving(make_server("127.0.0.1", 0, gateway, threaded=True)) as server:
        yield f"http://127.0.0.1:{server.server_port}"
