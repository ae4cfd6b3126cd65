"""How far a stage is, while it runs."""

from __future__ import annotations

import threading

import pytest
from click.testing import CliRunner
from support.datahost import DataHost, File, Held, Request
from support.laptop import Laptop, document, until

from functions.cli.main import main

pytestmark = pytest.mark.xdist_group("e2e")


def test_the_status_shows_how_much_data_was_fetched(laptop: Laptop, monkeypatch: pytest.MonkeyPatch) -> None:
    reported = threading.Event()

    def half(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "2000000")
        request.end_headers()
        for _ in range(100):  # and no more until it was reported; a byte now and then lets the stage tell of it
            request.wfile.write(b"x" * 10_000)
        sent = 1_000_000
        while sent < 2_000_000 and not reported.wait(0.1):
            request.wfile.write(b"x")
            sent += 1
        request.wfile.write(b"x" * (2_000_000 - sent))

    with DataHost() as host:
        host.routes |= {"/small": File(Held(b"1")), "/large": half}
        job = laptop.submit(document("wc -c $INPUTS/1/0", inputs=[f"{host.url}/small", f"{host.url}/large"]))
        info = until(lambda: laptop.info(job), lambda info: (info["progress"] or {"bytes": 0})["bytes"] > 1_000_000)
        monkeypatch.setenv("XDG_CONFIG_HOME", str(laptop.folder))  # where the command keeps its key
        shown = CliRunner().invoke(main, ["status", job, "--url", laptop.url]).output
        reported.set()
        ended = laptop.finished(job)
    assert (info["phase"], info["progress"]["files"], info["progress"]["filesTotal"]) == ("configure", 1, 2)
    assert 1_000_000 < info["progress"]["bytes"] < info["progress"]["bytesTotal"] == 2_000_001
    assert "1 of 2 files, 1.0 MB of 2.0 MB" in shown
    assert (ended["status"], ended["progress"]) == (70, None)
    assert {file["filename"] for file in ended["adminFiles"]} == {"configure.log", "publish.log"}
