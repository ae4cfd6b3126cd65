"""The canary: its Job has the labels and rights of an algorithm, and only a report of its own counts."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support.clusters import stage_job
from support.schemas import errors

from functions.cluster.kubernetes import canary, canary_probe
from functions.cluster.kubernetes.pods import pod_template
from functions.cluster.labels import MANAGED_BY, MANAGER
from functions.settings import Settings
from functions.workflow.environment import Environment

DEMO = Environment(id="demo", runtime_class="gvisor", node_selector={"pool": "compute"})


def manifest(environment: Environment = DEMO) -> dict[str, Any]:
    return canary.manifest("canary-1", environment, "sluice:1", "1.1.1.1:443")


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
        "[fd00:ec2::254]:80",
        "100.100.100.200:80",
        "192.0.0.192:80",
        "168.63.129.16:80",
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
