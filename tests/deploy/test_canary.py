"""`sluice doctor`: the canary stands in the algorithm's place, and its word is believed only if it spoke."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.clusters import stage_job
from support.fake_kube import FakeKube
from support.schemas import errors

from functions.cli.doctor import doctor
from functions.cluster.kubernetes import canary, canary_probe
from functions.cluster.kubernetes.pods import pod_template
from functions.cluster.labels import MANAGED_BY, MANAGER
from functions.settings import Settings
from functions.workflow.environment import Environment

DEMO = Environment(id="demo", runtime_class="gvisor", node_selector={"pool": "compute"})


def manifest(environment: Environment = DEMO) -> dict[str, Any]:
    return canary.manifest("canary-1", environment, "sluice:1", "1.1.1.1:443")


@pytest.fixture
def kube() -> Iterator[FakeKube]:
    fake = FakeKube()
    yield fake
    fake.close()


# --- the Job --------------------------------------------------------------------------------


def test_the_canary_is_a_valid_job() -> None:
    assert errors(manifest()) == []


def test_the_canary_stands_exactly_where_an_algorithm_would() -> None:
    template = manifest()["spec"]["template"]
    algorithm = pod_template(stage_job("w1"), Settings(), "w1-1")
    same = ("securityContext", "automountServiceAccountToken", "enableServiceLinks", "restartPolicy")
    for key in same:
        assert template["spec"][key] == algorithm["spec"][key]
    ours, theirs = template["spec"]["containers"][0], algorithm["spec"]["containers"][0]
    assert ours["securityContext"] == theirs["securityContext"]
    assert template["spec"]["runtimeClassName"] == "gvisor"
    assert template["spec"]["nodeSelector"] == {"pool": "compute"}
    for label in ("component", "app.kubernetes.io/component"):
        assert template["metadata"]["labels"][label] == algorithm["metadata"]["labels"][label] == "algorithm"


def test_neither_sources_nor_sweep_take_the_canary_for_a_workflow() -> None:
    job = manifest()
    for labels in (job["metadata"]["labels"], job["spec"]["template"]["metadata"]["labels"]):
        assert labels[MANAGED_BY] != MANAGER


def test_the_canary_needs_neither_volume_claim_nor_secret() -> None:
    spec = manifest()["spec"]["template"]["spec"]
    assert [volume for volume in spec["volumes"] if "emptyDir" not in volume] == []
    assert "secret" not in json.dumps(spec["containers"][0]["env"])


# --- the probe ------------------------------------------------------------------------------


def test_the_probe_tells_what_it_reaches_from_what_it_does_not() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_server(("127.0.0.1", 0)) as closed:
        open_port, closed_port = server.getsockname()[1], closed.getsockname()[1]
        closed.close()
        attempts = {
            "open": lambda: canary_probe.connect("127.0.0.1", open_port),
            "shut": lambda: canary_probe.connect("127.0.0.1", closed_port),
        }
        assert canary_probe.run(attempts, 10) == ["open"]


def test_a_target_that_never_answers_counts_as_out_of_reach() -> None:
    never = threading.Event()
    assert canary_probe.run({"silent": never.wait}, 0.05) == []
    never.set()


def test_the_probe_tries_all_that_an_algorithm_must_not_reach() -> None:
    environ = {
        "KUBERNETES_SERVICE_HOST": "10.96.0.1",
        "NODE_ADDRESS": "172.18.0.2",
        "PUBLIC_ADDRESS": "1.1.1.1:443",
        "MORE_ADDRESSES": "10.0.0.5:5432,[fd00::5]:9000",
    }
    tried = " ".join(canary_probe.attempts(environ, "10.96.0.10"))
    for target in (
        "kubernetes.default",
        "example.com",
        "10.96.0.1:443",
        "10.96.0.10:53",
        "169.254.169.254:80",
        "172.18.0.2:10250",
        "1.1.1.1:443",
        "10.0.0.5:5432",
        "[fd00::5]:9000",
    ):
        assert target in tried


@pytest.mark.parametrize("shut", [True, False])
def test_the_probe_as_the_pod_runs_it_reports_and_exits(shut: bool, tmp_path: Path) -> None:
    (_, _, program) = manifest()["spec"]["template"]["spec"]["containers"][0]["command"]
    log = tmp_path / "termination-log"
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = f"127.0.0.1:{server.getsockname()[1]}"
        # Loopback alone: the real list would go out into the world.
        only = f"attempts = lambda *_: {{'target': partial(connect, *{target.split(':')!r})}}\n"
        if shut:
            server.close()
        done = subprocess.run(
            [sys.executable, "-c", program.replace("def main()", only + "SETTLE_SECONDS = 0\ndef main()")],
            env={**os.environ, "TERMINATION_LOG": str(log)},
            capture_output=True,
            timeout=60,
        )
    assert done.returncode == (0 if shut else canary_probe.EXIT_CODE_REACHED)
    found = [] if shut else ["target"]
    assert json.loads(log.read_text()) == {"tried": ["target"], "reached": found, "still_reached": found}


def test_the_probe_tells_a_late_policy_from_a_missing_one() -> None:
    tried = []

    def open_at_first() -> None:
        tried.append(1)
        if len(tried) > 1:
            raise ConnectionRefusedError

    found = canary_probe.probe({"late": open_at_first, "open": lambda: None}, 0)
    assert found == {"tried": ["late", "open"], "reached": ["late", "open"], "still_reached": ["open"]}


# --- the command ----------------------------------------------------------------------------


def run_doctor(kube: FakeKube, folder: Path, ended: dict[str, Any] | None) -> Any:
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
        return CliRunner().invoke(doctor, ["--cluster", "--namespace", "demo"], env=environ)
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
    assert "BAD  reached  a public address" in result.output
    assert "NOT isolated" in result.output
    assert kube.names("jobs") == []


def test_a_policy_that_takes_effect_too_late_is_a_failure(kube: FakeKube, tmp_path: Path) -> None:
    result = run_doctor(kube, tmp_path, said(["a public address"], []))
    assert result.exit_code == 1
    assert "BAD  reached  a public address (in its first seconds only)" in result.output
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
    result = CliRunner().invoke(doctor, ["--cluster", "--namespace", "demo"])
    assert "so it proves nothing" in result.output
    assert kube.created.total() == 1


def test_without_a_cluster_it_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for variable in ("KUBECONFIG", "KUBERNETES_SERVICE_HOST"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    result = CliRunner().invoke(doctor, ["--cluster"])
    assert result.exit_code == 2
    assert "set KUBECONFIG, or create ~/.kube/config" in result.output


def test_an_address_without_a_port_is_a_usage_error() -> None:
    result = CliRunner().invoke(doctor, ["--cluster", "--try", "10.0.0.5"])
    assert result.exit_code == 2
    assert "10.0.0.5" in result.output


def test_doctor_reports_what_the_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    from functions.cli import doctor as module

    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setattr(module, "PORT", taken.getsockname()[1])
        result = CliRunner().invoke(doctor, [])
    assert result.exit_code == 1
    assert "BAD  port" in result.output
    assert "ok   python" in result.output
