"""The image, as far as it can be tried without a container engine: what goes in, and its server, really started."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from support.deployment import ROOT

DOCKERFILE = (ROOT / "Dockerfile").read_text()


def test_everything_that_the_dockerfile_copies_is_in_the_build_context() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+)$", DOCKERFILE, re.MULTILINE)
        for source in line.split()[:-1]
    ]
    assert copied
    for source in copied:
        assert (ROOT / source).exists(), source
        assert source in kept, source


def test_the_image_runs_as_a_numbered_user() -> None:
    assert "compileall" in DOCKERFILE
    assert "PYTHONDONTWRITEBYTECODE" not in DOCKERFILE
    assert re.search(r"^USER 65532:65532$", DOCKERFILE, re.MULTILINE)


def test_the_final_stage_copies_nothing_from_the_checkout() -> None:
    """COPY keeps a file's mode, and a checkout with a strict umask has files that the image's user cannot read."""
    last = DOCKERFILE.rpartition("\nFROM ")[2]
    assert [line for line in last.splitlines() if line.startswith("COPY") and "--from=build" not in line] == []


def test_the_server_of_the_image_serves_the_function_that_is_named(tmp_path: Path) -> None:
    port = free_port()
    environ = {
        **{key: value for key, value in os.environ.items() if key not in ("GUNICORN_CMD_ARGS",)},
        "FUNCTION_TARGET": "advance",
        "THREADS": "2",
        "PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "gunicorn", "--config", str(ROOT / "gunicorn.conf.py")]
    log = (tmp_path / "log").open("wb")
    server = subprocess.Popen(command, env=environ, cwd=tmp_path, stdout=log, stderr=log)
    try:
        assert get(f"http://127.0.0.1:{port}/healthz") == 200, (tmp_path / "log").read_text()
    finally:
        server.terminate()
        assert server.wait(20) == 0
        log.close()


def get(url: str) -> int:
    """The status of the first answer; the server has 20 s to come up."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return int(answer.status)
        except OSError:
            if time.monotonic() > deadline:
                return 0
            time.sleep(0.05)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
