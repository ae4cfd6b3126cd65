"""The speed at which configure fetches and hashes one file over loopback, compared with `curl` on the same file.

The fetch is timed by the program itself, in its log; its start-up time is a figure of its own. For curl it is the whole
run. Both are run in turn; the figures are medians. The server is a separate process that uses sendfile, so that it does
not limit the speed.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.rows import Row, at_least

SIZE, SHORT_SIZE = 256 << 20, 8 << 20  # bytes
RUNS, SHORT_RUNS = 5, 1
_SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        with open(sys.argv[1], "rb") as file:
            self.send_response(200)
            self.send_header("Content-Length", sys.argv[2])
            self.end_headers()
            self.wfile.flush()
            self.connection.sendfile(file)
    def log_message(self, *_): pass
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
"""


def measure(short: bool = False) -> Iterator[Row]:
    size, runs = (SHORT_SIZE, SHORT_RUNS) if short else (SIZE, RUNS)
    megabytes = size >> 20
    with tempfile.TemporaryDirectory(dir=_folder_in_memory(size)) as name, _served(Path(name), size) as url:
        ours, theirs, whole = _times(Path(name), url, size, runs)
    yield Row(f"configure: curl, {megabytes} MB from loopback", megabytes / theirs, "MB/s")
    yield Row("configure: the same, with sha256", megabytes / ours, "MB/s")
    yield Row("configure: fetching / curl", theirs / ours, "×", at_least(0.7))
    yield Row(f"configure: the whole program with {megabytes} MB", whole * 1000, "ms")


def _times(folder: Path, url: str, size: int, runs: int) -> tuple[float, float, float]:
    """Median seconds of configure's fetch, of curl, and of the whole program."""
    ours, theirs, whole = [], [], []
    for _ in range(runs):
        theirs.append(_seconds(["curl", "-s", "-o", str(folder / "curl"), url]))
        (folder / "curl").unlink()
        volume = folder / "volume"
        whole.append(_seconds([sys.executable, *_configure(folder, volume, url)]))
        assert (volume / "inputs" / "0" / "0").stat().st_size == size
        logged = re.search(
            r"inputs/0/0: \d+ bytes in ([0-9.]+) s", (volume / "adminlogs" / "configure.log").read_text()
        )
        assert logged
        ours.append(float(logged[1]))
        shutil.rmtree(volume)
    return median(ours), median(theirs), median(whole)


def _configure(folder: Path, volume: Path, url: str) -> list[str]:
    """The arguments of Python for a configure that fetches one file."""
    policy = {"schemes": ["http"], "allowPrivateAddresses": True}
    task = _task_file(folder, {"input": [{"url": url}]}, {"fetch": policy, "results": ""})
    return ["-m", "functions.staging.configure", "--task", str(task), "--volume", str(volume)]


def _task_file(folder: Path, stage: dict[str, Any], task: dict[str, Any]) -> Path:
    """A task file for a short algorithm."""
    algorithm = {"container": {"entrypoint": "python $ALGO", "image": "python"}, "rawcode": "pass"}
    document = {
        "dialect": "ocean",
        "stages": [{"input": [], "algorithm": algorithm, "compute": {}, "output": {}, **stage}],
    }
    path = folder / "task.json"
    path.write_text(json.dumps({"workflow": "w", "definition": document, **task}))
    return path


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


@contextmanager
def _served(folder: Path, size: int) -> Iterator[str]:
    """The URL of a file of `size` random bytes on a server of its own."""
    path = folder / "data"
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(size >> 20):
            file.write(block)
    server = subprocess.Popen([sys.executable, "-c", _SERVER, str(path), str(size)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/data"
    finally:
        server.kill()
        server.communicate()


def _folder_in_memory(size: int) -> str | None:
    """A folder on tmpfs if it has room, because the disk should not limit the speed. None: the default folder."""
    path = "/dev/shm"
    return path if os.path.isdir(path) and shutil.disk_usage(path).free > 3 * size else None
