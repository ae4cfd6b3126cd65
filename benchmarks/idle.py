"""What is used while nothing is to do: processes on Knative, CPU of a laptop.

The laptop's seconds begin when it answers, so that two of its first ticks are among them; later there is one a minute.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import yaml

from benchmarks.rows import Row, at_most
from benchmarks.serving import ROOT, cpu, free_port, get

SECONDS = 20


def measure() -> Iterator[Row]:
    yield Row("idle: processes of the functions on Knative", float(_kept()), "", at_most(0))
    yield Row(f"idle: a laptop, {SECONDS} s with two ticks", _laptop() * 100, "% of a core", at_most(1))


def _kept() -> int:
    """The Pods that the Knative Services keep when there is nothing to do, as their manifests say."""
    kept = 0
    for function in ("submit", "advance", "status"):
        service = yaml.safe_load((ROOT / "knative" / "base" / f"{function}.yaml").read_text())
        kept += int(service["spec"]["template"]["metadata"]["annotations"]["autoscaling.knative.dev/min-scale"])
    return kept


def _laptop() -> float:
    """The part of a core that `sluice up` and its children use."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "functions.cli.main", "up", "--port", str(port), "--dir", folder]
        laptop = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            _wait(laptop, port)
            began = cpu(laptop.pid)
            time.sleep(SECONDS)
            return (cpu(laptop.pid) - began) / SECONDS
        finally:
            laptop.terminate()
            laptop.wait()


def _wait(laptop: subprocess.Popen[bytes], port: int) -> None:
    while laptop.poll() is None:
        try:
            if get(port, "/")[0] == 200:
                return
        except OSError:
            pass
        time.sleep(0.05)
    raise RuntimeError("sluice up has not started")
