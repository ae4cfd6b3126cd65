"""`sluice console`: finds the console of a server and opens it."""

from __future__ import annotations

import json
import webbrowser
from collections.abc import Iterator

import pytest
from support.api import app, function
from support.fake_api import Sluice
from support.serving import serving
from werkzeug.serving import make_server


@pytest.fixture
def url() -> Iterator[str]:
    with serving(make_server("127.0.0.1", 0, function("status", app()))) as server:
        yield f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []

    def browse(address: str) -> bool:
        found.append(address)
        return True

    monkeypatch.setattr(webbrowser, "open", browse)
    return found


def test_the_browser_is_opened_on_the_console(sluice: Sluice, url: str, opened: list[str]) -> None:
    done = sluice("console", "--url", url)
    assert (done.exit_code, done.stdout) == (0, f"{url}/console/\n")
    assert opened == [f"{url}/console/"]


def test_a_job_opens_its_own_page(sluice: Sluice, url: str, opened: list[str]) -> None:
    done = sluice("console", "a/b", "--url", url, "--json")
    assert json.loads(done.stdout) == {"url": f"{url}/console/#/workflows/a%2Fb", "opened": True}
    assert opened == [f"{url}/console/#/workflows/a%2Fb"]


def test_the_address_alone_is_printed_on_request(sluice: Sluice, url: str, opened: list[str]) -> None:
    assert sluice("console", "--print", "--url", url).stdout == f"{url}/console/\n"
    assert opened == []


def test_without_a_browser_the_address_is_printed(sluice: Sluice, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(webbrowser, "open", lambda _: False)
    done = sluice("console", "--url", url)
    assert (done.exit_code, done.stdout) == (0, f"{url}/console/\n")
    assert "open the address yourself" in done.stderr


def test_without_a_server_nothing_is_opened(sluice: Sluice, opened: list[str]) -> None:
    done = sluice("console", "--url", "http://127.0.0.1:1")
    assert done.exit_code == 3
    assert "no answer from http://127.0.0.1:1" in done.stderr
    assert opened == []
