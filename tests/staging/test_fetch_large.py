"""Large inputs in little memory, and what can be seen of them meanwhile."""

import json
import os
import sys
import threading
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from support.configuring import LOOPBACK, Configure, task_of
from support.datahost import DataHost, File, Pattern, Request
from support.laptop import until
from support.peak import measured

from functions.workflow.progress_line import Progress

MB = 1 << 20
long = pytest.mark.skipif(not os.environ.get("SLUICE_LONG"), reason="long profile: SLUICE_LONG=1")


@pytest.mark.parametrize(
    ("files", "size"),
    [(1, 256 * MB), (4, 48 * MB), pytest.param(1, 2048 * MB, marks=[pytest.mark.long, long])],
    ids=["256 MB", "4 at once", "2 GB"],
)
def test_memory_stays_below_128_mb_while_the_connection_breaks_every_50_mb(
    host: DataHost, tmp_path: Path, files: int, size: int
) -> None:
    content = Pattern(size)
    host.routes["/a"] = File(content, break_after=50 * MB)
    task = task_of([{"url": [f"{host.url}/a"] * files}], options=replace(LOOPBACK, max_bytes=4 << 30, seconds=300))
    (tmp_path / "task.json").write_bytes(msgspec.json.encode(task))
    program = [sys.executable, "-m", "functions.staging.configure"]
    arguments = ["--task", str(tmp_path / "task.json"), "--volume", str(tmp_path / "data")]
    environment = os.environ | {"TERMINATION_LOG": str(tmp_path / "termination")}
    code, memory = measured([*program, *arguments], environment, tmp_path / "stderr")
    assert code == 0, (tmp_path / "termination").read_text()
    recorded = json.loads((tmp_path / "data/provenance.json").read_text())["files"]
    assert {f["sha256"] for f in recorded if f["source"] == "http"} == {content.sha256}
    assert memory < 128 * MB
    breaks = (size - 1) // (50 * MB)
    assert len(host.seen) == files * (breaks + 1)


def test_progress_is_reported_during_a_download(configure: Configure, host: DataHost, told: list[Progress]) -> None:
    seen = threading.Event()
    content = Pattern(1 << 29)

    def until_seen(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(content.size))
        request.end_headers()
        for at in range(0, content.size, 1 << 16):
            request.wfile.write(content.part(at, 1 << 16))
            if seen.wait(0.005):
                break
        request.hang_up()

    host.routes["/a"] = until_seen
    stage = threading.Thread(target=configure, args=({"url": f"{host.url}/a"},))
    stage.start()
    [progress] = until(lambda: told[-1:], lambda last: bool(last) and last[0].bytes > 0, seconds=20)
    host.routes.clear()
    seen.set()
    stage.join()
    assert 0 < progress.bytes < content.size == progress.bytes_total
    assert (progress.files, progress.files_total) == (0, 1)
