"""`sluice doctor`: what it reports of this machine, and of a cluster through its canary."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from support.fake_kube import FakeKube

from functions.cli.main import main
from functions.cluster import escape_probe
from functions.cluster.kubernetes import canary, canary_probe
from functions.local.isolation import Isolation, probe
from functions.local.sandbox_check import SandboxReport
from functions.workflow.environment import Environment


@pytest.fixture
def kube() -> Iterator[FakeKube]:
    fake = FakeKube()
    yield fake
    fake.close()


def run_doctor(kube: FakeKube, folder: Path, ended: dict[str, Any] | None, *more: str) -> Result:
    """`sluice doctor --cluster`, while the Pod of its canary ends like this."""
    environ = {"KUBECONFIG": kube.kubeconfig(folder), "SLUICE_IMAGE": "sluice:1"}
    stop = threading.Event()

    def end() -> None:
        while not stop.wait(0.01):
            if jobs := kube.names("jobs"):
                kube.pod_state(jobs[0], {"terminated": ended}, "Failed")
                return

    thread = threading.Thread(target=end)
    if ended:
        thread.start()
    try:
        return CliRunner().invoke(main, ["doctor", "--cluster", "--namespace", "demo", *more], env=environ)
    finally:
        stop.set()
        if ended:
            thread.join()


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(canary, "POLL_INTERVAL", 0.01)


def said(reached: list[str], still_reached: list[str]) -> dict[str, Any]:
    tried = ["the Kubernetes API", "a public address"]
    report = json.dumps({"tried": tried, "reached": reached, "still_reached": still_reached})
    return {"exitCode": canary_probe.EXIT_CODE_REACHED if reached else 0, "reason": "Error", "message": report}


def test_a_canary_that_reaches_nothing_passes_and_is_removed(kube: FakeKube, tmp_path: Path) -> None:
    result = run_doctor(kube, tmp_path, said([], []))
    assert result.exit_code == 0
    assert "can reach nothing" in result.output
    assert kube.names("jobs") == []


def test_a_canary_that_gets_out_is_a_failure_that_names_what_it_reached(kube: FakeKube, tmp_path: Path) -> None:
    result = run_doctor(kube, tmp_path, said(["a public address"], ["a public address"]))
    assert result.exit_code == 1
    assert "BAD  a public address    reached\n" in result.output
    assert "NOT isolated" in result.output
    assert kube.names("jobs") == []


def test_json_output_has_each_target_and_whether_it_was_blocked(kube: FakeKube, tmp_path: Path) -> None:
    result = run_doctor(kube, tmp_path, said(["a public address"], ["a public address"]), "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == {
        "ok": False,
        "checks": [
            {"name": "the Kubernetes API", "ok": True, "text": "blocked"},
            {"name": "a public address", "ok": False, "text": "reached"},
        ],
    }


def test_a_policy_that_takes_effect_too_late_is_a_failure(kube: FakeKube, tmp_path: Path) -> None:
    result = run_doctor(kube, tmp_path, said(["a public address"], []))
    assert result.exit_code == 1
    assert "BAD  a public address    reached, in its first seconds only" in result.output
    assert "applies policies late" in result.output


def test_a_canary_without_a_report_is_a_failure(kube: FakeKube, tmp_path: Path) -> None:
    result = run_doctor(kube, tmp_path, {"exitCode": 127, "reason": "Error", "message": ""})
    assert result.exit_code == 1
    assert "so it proves nothing" in result.output
    assert "exit code 127" in result.output


def test_a_canary_that_never_starts_is_a_failure(
    kube: FakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(canary, "TIMEOUT", 0.1)
    result = run_doctor(kube, tmp_path, None)
    assert result.exit_code == 1
    assert "so it proves nothing" in result.output
    assert kube.names("jobs") == []


def test_it_checks_the_cluster_that_kubectl_uses(
    kube: FakeKube, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".kube").mkdir()
    Path(kube.kubeconfig(tmp_path)).rename(tmp_path / ".kube" / "config")
    monkeypatch.delenv("KUBECONFIG", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(canary, "TIMEOUT", 0.1)
    result = CliRunner().invoke(main, ["doctor", "--cluster", "--namespace", "demo"])
    assert "so it proves nothing" in result.output
    assert kube.created.total() == 1


def test_without_a_cluster_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    result = CliRunner().invoke(main, ["doctor", "--cluster"])
    assert result.exit_code == 3
    assert "set KUBECONFIG, or create ~/.kube/config" in result.output
    assert "waiting" not in result.output


@pytest.mark.parametrize("address", ["10.0.0.5", "10.0.0.5:", "10.0.0.5:0", "10.0.0.5:99999", "10.0.0.5:²", ":80"])
def test_an_address_without_a_port_is_a_usage_error(address: str) -> None:
    result = CliRunner().invoke(main, ["doctor", "--cluster", "--try", address])
    assert result.exit_code == 2
    assert address in result.output


def test_doctor_reports_what_the_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    from functions.cli import doctor as module

    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(module, "PORT", taken.getsockname()[1])
        result = CliRunner().invoke(
            main,
            [
                "doctor",
            ],
        )
        told = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert [check["ok"] for check in told["checks"] if check["name"] in ("python", "port")] == [True, False]
    assert told["ok"] is False
    assert result.exit_code == 1
    assert "BAD  port" in result.output
    assert "ok   python" in result.output


def test_the_sandbox_of_this_machine_is_closed() -> None:
    if probe() is not Isolation.SANDBOX:
        pytest.skip("this machine grants no sandbox")
    ended = CliRunner().invoke(main, ["doctor", "--sandbox", "--json"])
    report = json.loads(ended.stdout)
    assert [check for check in report["checks"] if not check["ok"]] == []
    assert (ended.exit_code, report["ok"]) == (0, True)


def test_an_open_way_out_of_the_sandbox_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SandboxReport(["/etc/shadow", "sysrq"], ["/etc/shadow"], ["disk", "memory"], ["disk"])
    monkeypatch.setattr("functions.local.sandbox_check.check", lambda isolation: found)
    ended = CliRunner().invoke(main, ["doctor", "--sandbox"])
    assert ended.exit_code == 1
    bad = [line.split()[1:] for line in ended.stdout.splitlines() if line.startswith("BAD")]
    assert ["/etc/shadow", "open"] in bad
    assert ["limit:", "disk", "exceeded"] in bad
    assert "ok   sysrq" in ended.stdout


def test_the_escape_probe_runs_as_a_job_of_a_cluster(kube: FakeKube, tmp_path: Path) -> None:
    report = json.dumps({"tried": ["90 ways out"], "reached": ["/etc/shadow"], "still_reached": ["/etc/shadow"]})
    ended = run_doctor(kube, tmp_path, {"exitCode": 3, "reason": "Error", "message": report}, "--sandbox")
    assert ended.exit_code == 1
    assert "BAD  /etc/shadow" in ended.stdout


def test_the_job_of_the_escape_probe_carries_its_program() -> None:
    job = canary.manifest("canary", Environment(id="demo"), "python:3", "1.1.1.1:443", escapes=True)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-c", Path(escape_probe.__file__).read_text()]
