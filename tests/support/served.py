"""Functions as the image serves them: gunicorn with the project's configuration, one process each, on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "gunicorn.conf.py"
START_SECONDS = 30


@contextmanager
def served(*functions: str, **environ: str) -> Iterator[Mapping[str, int]]:
    """Run the functions until the block ends; their ports by name."""
    ports = {name: free_port() for name in functions}
    with ExitStack() as stack:
        for name, port in ports.items():
            stack.enter_context(_server(name, port, environ, CONFIG))
        for port in ports.values():
            _wait_for(port)
        yield ports


@contextmanager
def one_served(function: str, **environ: str) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """Run one function; its port, and its process for a test that has something to do to it."""
    with configured(function, CONFIG, environ) as served:
        yield served


@contextmanager
def configured(
    function: str, config: Path, environ: Mapping[str, str]
) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    """As `one_served`, with another configuration of gunicorn."""
    port = free_port()
    with _server(function, port, environ, config) as process:
        _wait_for(port)
        yield port, process


@contextmanager
def _server(function: str, port: int, environ: Mapping[str, str], config: Path) -> Iterator[subprocess.Popen[bytes]]:
    own = {"FUNCTION_TARGET": function, "PORT": str(port), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "gunicorn", "--config", str(config), "-b", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, env={**own, **environ}, cwd=ROOT)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(10)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, f"nothing listens on port {port}"
            time.sleep(0.05)


def get_when_up(url: str) -> int:
    """The status of a server's first answer; 0 if there is none in time."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return int(answer.status)
        except OSError:
            if time.monotonic() > deadline:
                return 0
            time.sleep(0.05)
