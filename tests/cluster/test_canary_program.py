"""The canary's program: what it tries from a Pod, and how it reports."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from functions.cluster.kubernetes import canary_probe


class Left(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("search default.svc\nnameserver 10.96.0.10\nnameserver 10.0.0.1\n", "10.96.0.10"),
        ("search default.svc\n", ""),
        ("", ""),
    ],
)
def test_the_first_nameserver_is_that_of_the_cluster(tmp_path: Path, text: str, found: str) -> None:
    (tmp_path / "resolv.conf").write_text(text)
    assert canary_probe.nameserver(str(tmp_path / "resolv.conf")) == found


def test_only_targets_with_an_address_are_tried() -> None:
    everywhere = set(canary_probe.attempts({}, ""))
    given = {"KUBERNETES_SERVICE_HOST": "10.96.0.1", "PUBLIC_ADDRESS": "1.1.1.1:443", "MORE_ADDRESSES": "10.0.0.9:22"}
    assert set(canary_probe.attempts(given, "10.96.0.10")) - everywhere == {
        "the Kubernetes API (10.96.0.1:443)",
        "a Service of the cluster, its DNS (10.96.0.10:53)",
        "a public address (1.1.1.1:443)",
        "a given address (10.0.0.9:22)",
    }


@pytest.mark.parametrize("reached", [True, False])
def test_the_report_is_printed_and_left_as_termination_message(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, reached: bool
) -> None:
    def refuse() -> None:
        raise ConnectionRefusedError

    def attempts(environ: dict[str, str], dns: str) -> dict[str, Callable[[], None]]:
        return {"open": (lambda: None) if reached else refuse, "shut": refuse}

    codes: list[int] = []

    def leave(code: int) -> NoReturn:
        codes.append(code)
        raise Left

    monkeypatch.setattr(canary_probe, "attempts", attempts)
    monkeypatch.setattr(canary_probe, "nameserver", lambda: "")
    monkeypatch.setattr(canary_probe, "SETTLE_SECONDS", 0)
    monkeypatch.setattr(os, "_exit", leave)
    monkeypatch.setenv("TERMINATION_LOG", str(tmp_path / "message"))
    with pytest.raises(Left):
        canary_probe.main()
    found = ["open"] if reached else []
    report = {"tried": ["open", "shut"], "reached": found, "still_reached": found}
    assert json.loads(capsys.readouterr().out) == report
    assert json.loads((tmp_path / "message").read_text()) == report
    assert codes == [canary_probe.EXIT_CODE_REACHED if reached else 0]


def test_a_name_that_can_be_looked_up_is_reached() -> None:
    assert canary_probe.run({"an address": lambda: canary_probe.resolve("127.0.0.1")}, 60) == ["an address"]
