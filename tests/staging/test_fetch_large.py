"""Large inputs in little memory, and what can be seen of them meanwhile."""

import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import pytest
from msgspec.structs import replace
from support.configuring import LOOPBACK, Configure, task_of
from support.datahost import DataHost, File, Pattern, Request

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
    task = task_of([{"url": [f"{host.url}/a"] * files}], policy=replace(LOOPBACK, max_bytes=4 << 30, seconds=300))
    (tmp_path / "task.json").write_bytes(msgspec.json.encode(task))
    program = [sys.executable, "-m", "functions.staging.configure"]
    arguments = ["--task", str(tmp_path / "task.json"), "--volume", str(tmp_path / "data")]
    environment = os.environ | {"TERMINATION_LOG": str(tmp_path / "termination")}
    process = os.spawnve(os.P_NOWAIT, program[0], [*program, *arguments], environment)
    _, status, usage = os.wait4(process, 0)
    assert status == 0, (tmp_path / "termination").read_text()
    recorded = json.loads((tmp_path / "data/provenance.json").read_text())["files"]
    assert {f["sha256"] for f in recorded if f["source"] == "http"} == {content.sha256}
    assert usage.ru_maxrss / 1024 < 128
    breaks = (size - 1) // (50 * MB)
    assert len(host.seen) == files * (breaks + 1)


def test_progress_can_be_read_while_it_runs(configure: Configure, host: DataHost, tmp_path: Path) -> None:
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
    path, deadline = tmp_path / "data/adminlogs/progress.json", time.monotonic() + 20
    progress: dict[str, Any] = {}
    while progress.get("bytes", 0) == 0 and time.monotonic() < deadline:
        if path.exists():
            progress = json.loads(path.read_bytes())  # never half a file
        time.sleep(0.002)
    host.routes.clear()
    seen.set()
    stage.join()
    assert 0 < progress["bytes"] < progress["bytes_total"] == content.size
    assert (progress["files"], progress["files_total"], progress["now"]) == (0, 1, "inputs/0/0")
