"""Starts functions as the image does, and sends requests to them."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
EMPTY = """
import functions_framework

@functions_framework.http
def empty(request):
    return "", 204
"""


@dataclass(frozen=True)
class Served:
    """The server process of a function."""

    port: int
    process: subprocess.Popen[bytes]
    seconds: float  # from starting the process to its first correct answer

    def memory(self) -> float:
        """Peak resident memory of the largest process, in MiB."""
        return max(_peak(pid) for pid in _tree(self.process.pid))


@contextmanager
def served(
    target: str,
    probe: Callable[[int], bool],
    environ: Mapping[str, str] | None = None,
    source: Path | None = None,
    threads: int = 8,
) -> Iterator[Served]:
    """Serve `target` with gunicorn and the image's configuration. Waits until `probe(port)` finds a correct answer."""
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "gunicorn",
        "--config",
        str(ROOT / "gunicorn.conf.py"),
        "--bind",
        f"127.0.0.1:{port}",
    ]
    variables = {
        **os.environ,
        "PORT": str(port),
        "FUNCTION_TARGET": target,
        "THREADS": str(threads),
        "PYTHONPATH": str(ROOT),
        **(environ or {}),
    }
    if source is not None:
        command += [f"functions_framework:create_app('{target}', '{source}')"]
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    began = time.perf_counter()
    process = subprocess.Popen(command, env=variables, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while not _answers(probe, port):
            if process.poll() is not None:
                raise RuntimeError(f"{target} did not start")
            time.sleep(0.002)
        yield Served(port, process, time.perf_counter() - began)
    finally:
        process.terminate()
        process.wait()


@dataclass(frozen=True)
class Load:
    """The result of a run of requests."""

    seconds: float
    latencies: Sequence[float]  # seconds, sorted

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds

    def percentile(self, percent: float) -> float:
        return self.latencies[min(len(self.latencies) - 1, int(len(self.latencies) * percent / 100))]


Request = tuple[str, str, bytes, Mapping[str, str]]  # method, path, body, headers


def load(port: int, requests: Sequence[Request], at_once: int, expected: tuple[int, ...] = (200, 202, 204)) -> Load:
    """Send the requests over `at_once` persistent connections. Raises RuntimeError if an answer has another status."""
    todo, lock = iter(requests), threading.Lock()
    latencies: list[float] = []
    wrong: list[tuple[int, bytes]] = []

    def client() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        while True:
            with lock:
                request = next(todo, None)
            if request is None or wrong:
                connection.close()
                return
            method, path, body, headers = request
            began = time.perf_counter()
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            text = answer.read()
            latencies.append(time.perf_counter() - began)
            if answer.status not in expected:
                wrong.append((answer.status, text[:300]))

    clients = [threading.Thread(target=client) for _ in range(at_once)]
    began = time.perf_counter()
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join()
    seconds = time.perf_counter() - began
    if wrong:
        raise RuntimeError(f"unexpected answer: {wrong[0]}")
    return Load(seconds, sorted(latencies))


def status_is(path: str, status: int) -> Callable[[int], bool]:
    """A probe: whether GET `path` answers with `status`."""
    return lambda port: get(port, path)[0] == status


def get(
    port: int, path: str, method: str = "GET", body: bytes = b"", headers: Mapping[str, str] | None = None
) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path, body, dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.read()
    finally:
        connection.close()


def _answers(probe: Callable[[int], bool], port: int) -> bool:
    try:
        return probe(port)
    except (OSError, http.client.HTTPException):
        return False


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return int(s.getsockname()[1])


def cpu(pid: int) -> float:
    """CPU seconds used by a process and its descendants, including those that have ended.

    A descendant that ends while they are counted is left out: its parent has not waited for it yet.
    """
    seconds = _cpu(pid)
    for child in _children(pid):
        with suppress(FileNotFoundError, ProcessLookupError):
            seconds += cpu(child)
    return seconds


def _tree(pid: int) -> list[int]:
    return [pid, *(each for child in _children(pid) for each in _tree(child))]


def _children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _peak(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    return 0.0


def _cpu(pid: int) -> float:
    """User and system time in seconds, including children that were waited for."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
