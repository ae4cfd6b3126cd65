"""The CPU that `sluice up` uses while there is nothing to do.

The measurement begins when the server answers, so it includes the first two ticks. Later there is one tick an hour.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

from benchmarks.rows import Row, at_most
from benchmarks.serving import ROOT, cpu, free_port, get

SECONDS, SHORT_SECONDS = 20, 1


def measure(short: bool = False) -> Iterator[Row]:
    seconds = SHORT_SECONDS if short else SECONDS
    yield Row(f"idle: sluice up, the first {seconds} s", _share_of_a_core(seconds) * 100, "% of a core", at_most(1))


def _share_of_a_core(seconds: float) -> float:
    """The share of one core that `sluice up` and its children use."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "functions.cli.main", "up", "--port", str(port), "--dir", folder]
        server = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(server, port)
            began = cpu(server.pid)
            time.sleep(seconds)
            return (cpu(server.pid) - began) / seconds
        finally:
            server.terminate()
            server.wait(timeout=30)


def _wait(server: subprocess.Popen[bytes], port: int) -> None:
    while server.poll() is None:
        try:
            if get(port, "/")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError("sluice up did not start")
