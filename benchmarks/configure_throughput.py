"""How fast configure fetches one 256 MB file over loopback, hash computed, beside `curl` on the same file.

The fetching is timed by the program itself (its log); that it also takes time to start is a figure of its own. Of curl
it is the whole run. The median of alternating runs counts. The server is a process of its own that hands the file to
the kernel (sendfile), so that it is not what is measured.
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

from benchmarks.rows import Row, at_least, at_most

SIZE = 256 << 20
RUNS = 5
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


def measure() -> Iterator[Row]:
    with tempfile.TemporaryDirectory(dir=_memory()) as name:
        folder = Path(name)
        with _served(folder / "data") as url:
            ours, theirs, whole = _times(folder, url)
    rate = SIZE / (1 << 20)
    yield Row("configure: curl, 256 MB from loopback", rate / theirs, "MB/s")
    yield Row("configure: the same, with sha256", rate / ours, "MB/s")
    yield Row("configure: fetching / curl", theirs / ours, "×", at_least(0.7))
    yield Row("configure: the whole program with 256 MB", whole * 1000, "ms")
    yield Row("configure: start of the program", _start() * 1000, "ms", at_most(150))


def _times(folder: Path, url: str) -> tuple[float, float, float]:
    ours, theirs, whole = [], [], []
    for _ in range(RUNS):
        theirs.append(_seconds(["curl", "-s", "-o", str(folder / "curl"), url]))
        (folder / "curl").unlink()
        volume = folder / "volume"
        whole.append(_seconds([sys.executable, *_configure(folder, volume, url)]))
        assert (volume / "inputs" / "0" / "0").stat().st_size == SIZE
        said = re.search(r"inputs/0/0: \d+ bytes in ([0-9.]+) s", (volume / "adminlogs" / "configure.log").read_text())
        assert said
        ours.append(float(said[1]))
        shutil.rmtree(volume)
    return median(ours), median(theirs), median(whole)


def _start() -> float:
    return median(_seconds([sys.executable, "-c", "import functions.staging.configure.program"]) for _ in range(RUNS))


def _configure(folder: Path, volume: Path, url: str) -> list[str]:
    container = {"entrypoint": "python $ALGO", "image": "python"}
    stage = {
        "input": [{"url": url}],
        "algorithm": {"container": container, "rawcode": "pass"},
        "compute": {},
        "output": {},
    }
    policy = {"schemes": ["http"], "allowPrivateAddresses": True}
    task = {"workflow": "w", "results": "", "definition": {"stages": [stage]}, "fetch": policy}
    (folder / "task.json").write_text(json.dumps(task))
    return ["-m", "functions.staging.configure", "--task", str(folder / "task.json"), "--volume", str(volume)]


def _seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
    return time.perf_counter() - began


@contextmanager
def _served(path: Path) -> Iterator[str]:
    block = os.urandom(1 << 20)
    with path.open("wb") as file:
        for _ in range(SIZE >> 20):
            file.write(block)
    server = subprocess.Popen([sys.executable, "-c", _SERVER, str(path), str(SIZE)], stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}/data"
    finally:
        server.kill()
        server.communicate()


def _memory() -> str | None:
    """A folder in memory where there is room: the disk is not what is measured."""
    place = "/dev/shm"
    return place if os.path.isdir(place) and shutil.disk_usage(place).free > 3 * SIZE else None
