"""tools/cluster-timeline on recorded events: a fake kubectl prints them, a fake API has the history."""

from __future__ import annotations

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.deployment import ROOT
from support.fake_api import FakeApi, server
from support.laptop import until
from support.recorded import START, pod_events
from support.serving import serving

TOOL = ROOT / "tools" / "cluster-timeline"
JOB = "3c1f0f5e8a7b4c2d9e6f1a2b3c4d5e6f"
RUNS: dict[tuple[str, ...], str] = {  # by component and attempt, and executor of a TES task
    ("configure", "1"): "success",
    ("algorithm", "1"): "suspended",
    ("algorithm", "1", "1"): "success",
    ("check", "1"): "success",
    ("publish", "1"): "exit-1",
    ("publish", "2"): "ttl",
}
BEGAN = START.timestamp()


def history() -> list[dict[str, Any]]:
    """One that publishes at its second attempt."""
    moves = [
        (0, "queued", "queued", "submitted"),
        (0.25, "queued", "configure", "admitted"),
        (3.25, "configure", "algorithm", "configure succeeded"),
        (4.75, "algorithm", "algorithm", "executor 1 succeeded"),
        (5.75, "algorithm", "check", "executor 2 succeeded"),
        (6.25, "check", "publish", "check succeeded"),
        (9.25, "publish", "publish", "publish failed"),
        (22.5, "publish", "finished", "publish succeeded"),
    ]
    return [
        {
            "at": f"{BEGAN + seconds:.6f}",
            "before": before,
            "after": after,
            "event": event,
            "attempt": 2 if after == "finished" else 1,
        }
        for seconds, before, after, event in moves
    ]


def events() -> str:
    """What `kubectl get pods --watch --output-watch-events -o json` prints: indented documents, one after the other."""
    printed = []
    for (stage, attempt, *executor), scenario in RUNS.items():
        for sent in pod_events(scenario):
            body = json.loads(json.dumps(sent.body))
            labels = {"component": stage, "attempt": attempt, **({"executor": executor[0]} if executor else {})}
            body["metadata"]["labels"] |= labels
            printed.append(json.dumps({"type": "MODIFIED", "object": body}, indent=4))
    return "\n".join(printed) + "\n"


def run_tool(folder: Path, api: FakeApi) -> subprocess.CompletedProcess[str]:
    (folder / "events.json").write_text(events())
    kubectl = folder / "kubectl"
    kubectl.write_text(f'#!/bin/sh\necho "$@" >{folder}/arguments\ncat {folder}/events.json\nexec sleep 60\n')
    kubectl.chmod(0o755)
    (folder / "admin").write_text("secret\n")
    environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    command = [sys.executable, str(TOOL), JOB, "--url", api.url, "--admin-file", str(folder / "admin")]
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=110, check=False)


def test_the_timeline_has_a_column_for_each_attempt_and_a_row_for_each_step(tmp_path: Path) -> None:
    api = FakeApi()
    api.put("GET", "/history", history())
    with serving(server(api)):
        done = run_tool(tmp_path, api)
    assert done.returncode == 0, done.stderr
    lines = [line.split("  ") for line in done.stdout.splitlines() if line]
    rows = {line[0].strip(): [cell.strip() for cell in line[1:] if cell.strip()] for line in lines}
    assert rows[""] == ["configure", "algorithm", "algorithm/2", "check", "publish", "publish-2"]
    assert rows["stage begins (record)"] == ["0.25", "3.25", "5.75", "6.25", "9.25"]
    assert rows["stage ends (record)"] == ["3.25", "5.75", "6.25", "9.25", "22.50"]
    for row in ("Pod created", "scheduled", "container running", "container terminated"):
        assert len(rows[row]) == len(RUNS), row
    for earlier, later in (("Pod created", "container running"), ("container running", "container terminated")):
        assert all(float(a) <= float(b) for a, b in zip(rows[earlier], rows[later], strict=True))
    assert "finished after 22.50 s" in done.stdout
    assert [asked.headers["Admin"] for asked in api.of("/history")] == ["secret"]
    assert f"-l workflow={JOB},app.kubernetes.io/managed-by=sluice" in (tmp_path / "arguments").read_text()


def test_a_watch_that_the_api_server_ends_is_begun_anew(tmp_path: Path) -> None:
    """As it does after half an hour or so, while an algorithm may run for hours."""
    printed = events().split("\n}\n")
    for number, part in ((1, printed[:10]), (2, printed[10:])):
        (tmp_path / str(number)).write_text("\n}\n".join(part) + ("\n}\n" if number == 1 else ""))
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(
        f"#!/bin/sh\ncd {tmp_path}\n[ -e begun ] || {{ touch begun; exec cat 1; }}\ncat 2\nexec sleep 60\n"
    )
    kubectl.chmod(0o755)
    tool = runpy.run_path(str(TOOL))
    pods = tool["Pods"]()
    watch = tool["Watch"]([str(kubectl)], pods)
    until(lambda: pods.times.get("publish-2", {}), lambda steps: "container terminated" in steps)
    watch.end()
    assert pods.times.keys() == {"configure", "algorithm", "algorithm/2", "check", "publish", "publish-2"}


def test_a_kubectl_that_fails_is_not_called_again(tmp_path: Path) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f"#!/bin/sh\necho called >>{tmp_path}/calls\nexit 1\n")
    kubectl.chmod(0o755)
    tool = runpy.run_path(str(TOOL))
    watch = tool["Watch"]([str(kubectl)], tool["Pods"]())
    watch._reader.join(20)
    watch.end()
    assert (tmp_path / "calls").read_text() == "called\n"


def test_a_server_that_does_not_answer_is_named(tmp_path: Path) -> None:
    api = FakeApi(url="http://127.0.0.1:9")
    done = run_tool(tmp_path, api)
    assert done.returncode == 1
    assert "http://127.0.0.1:9 does not answer" in done.stderr
