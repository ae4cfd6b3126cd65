"""The image's server listens on every address that a Pod may have."""

from __future__ import annotations

import os
import runpy
import socket
import subprocess
import sys

import pytest
from support.served import CONFIG, ROOT, free_port, get_when_up


def test_a_function_is_reached_over_ipv4_and_ipv6() -> None:
    with socket.socket(socket.AF_INET6) as probe:
        try:
            probe.bind(("::1", 0))
        except OSError:
            pytest.skip("this machine has no IPv6")
    port = free_port()
    environ = {"FUNCTION_TARGET": "status", "PORT": str(port), "PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    server = subprocess.Popen([sys.executable, "-m", "gunicorn", "--config", str(CONFIG)], env=environ, cwd=ROOT)
    try:
        assert [get_when_up(f"http://{host}:{port}/healthz") for host in ("127.0.0.1", "[::1]")] == [200, 200]
    finally:
        server.terminate()
        server.wait(10)


def test_a_function_listens_where_the_kernel_has_no_ipv6(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(family: int) -> socket.socket:
        raise OSError(97, "Address family not supported by protocol")

    monkeypatch.setenv("FUNCTION_TARGET", "status")
    monkeypatch.setenv("PORT", "8081")
    monkeypatch.setattr(socket, "socket", refuse)
    assert runpy.run_path(str(CONFIG))["bind"] == "0.0.0.0:8081"
