"""The events that a real cluster sent (tests/data/recorded), as events of our workflow, and the API at each moment.

Jobs and Pods were recorded in two runs of the same scenarios. Their names, UIDs and times are aligned here.
"""

from __future__ import annotations

import json
import re
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

from functions.cluster.kubernetes.access import Access
from functions.cluster.kubernetes.client import Api
from functions.cluster.labels import JOB_NAME, job_labels
from functions.cluster.ports import JobRef
from functions.workflow.model import JobUid, Stage, WorkflowId

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")
FOLDER = Path(__file__).parents[1] / "data" / "recorded"
START = datetime(2026, 11, 22, 2, 27, 1, tzinfo=UTC)  # of the run in which the Jobs were recorded
REF = JobRef(WorkflowId("3c1f0f5e8a7b4c2d9e6f1a2b3c4d5e6f"), Stage.ALGORITHM, 1, "demo")
SCENARIOS = (
    "success", "exit-1", "oom", "image-missing", "deadline", "deleted", "suspended", "unschedulable",
    "configmap-missing", "retry-then-ok", "exit-42-policy", "ttl",
)  # fmt: skip


@dataclass(frozen=True)
class Sent:
    """One event: `at` seconds after the start; `attributes` without `ce-`."""

    at: float
    attributes: dict[str, str]
    body: dict[str, Any]

    @property
    def deleted(self) -> bool:
        return self.attributes["type"].endswith(".delete")

    @property
    def kind(self) -> str:
        return str(self.body["kind"])

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])


@cache
def lines(file: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (FOLDER / file).read_text().splitlines()]


@cache
def job_events(scenario: str) -> list[Sent]:
    found = [line for line in lines("apiserversource-resource.jsonl") if line["data"]["metadata"]["name"] == scenario]
    return [_aligned(line, scenario) for line in found]


@cache
def pod_events(scenario: str) -> list[Sent]:
    found = [
        line
        for line in lines("apiserversource-pods.jsonl")
        if line["data"]["metadata"]["labels"].get("job-name") == scenario
    ]
    return [_aligned(line, scenario) for line in found]


@cache
def reference_events(scenario: str) -> list[Sent]:
    found = [line for line in lines("apiserversource-reference.jsonl") if line["data"]["name"] == scenario]
    return [
        Sent(line["seconds"], _attributes(line["headers"]), {**line["data"], "name": REF.name, "metadata": {}})
        for line in found
    ]


@cache
def job_uid(scenario: str) -> JobUid:
    return JobUid(job_events(scenario)[0].body["metadata"]["uid"])


def _aligned(line: dict[str, Any], scenario: str) -> Sent:
    body = deepcopy(line["data"])
    metadata = body["metadata"]
    metadata["labels"] |= job_labels(REF)
    if body["kind"] == "Pod":
        body = _earlier(body, _started("apiserversource-pods.jsonl") - _started("apiserversource-resource.jsonl"))
        metadata = body["metadata"]
    metadata["name"] = metadata["name"].replace(scenario, REF.name, 1)
    if body["kind"] == "Pod":
        uid = job_uid(scenario)
        metadata["labels"] |= {JOB_NAME: REF.name, "batch.kubernetes.io/controller-uid": uid}
        for owner in metadata["ownerReferences"]:
            owner |= {"name": REF.name, "uid": uid}
    return Sent(line["seconds"], _attributes(line["headers"]), body)


@cache
def _started(file: str) -> datetime:
    return datetime.fromisoformat(lines(file)[0]["headers"]["ce-time"])


def _earlier(value: Any, by: timedelta) -> Any:
    """The body with all its times moved back."""
    if isinstance(value, dict):
        return {key: _earlier(inner, by) for key, inner in value.items()}
    if isinstance(value, list):
        return [_earlier(inner, by) for inner in value]
    if isinstance(value, str) and _TIME.fullmatch(value):
        return (datetime.fromisoformat(value) - by).isoformat(timespec="seconds").replace("+00:00", "Z")
    return value


def _attributes(headers: dict[str, str]) -> dict[str, str]:
    return {key.removeprefix("ce-"): value for key, value in headers.items() if key.startswith("ce-")}


class RecordedApi(Api):
    """The API as it would have answered `at` seconds after the start: each object as last announced."""

    def __init__(self, scenario: str) -> None:
        super().__init__(Access("http://recorded"), 1)
        self.at = 0.0
        self.reads = 0
        self.gone_at: float | None = None  # when the Job that we deleted is gone
        self._events = sorted([*job_events(scenario), *pod_events(scenario)], key=lambda sent: sent.at)

    @property
    def now(self) -> datetime:
        return START + timedelta(seconds=self.at)

    def get(self, path: str, **query: str) -> dict[str, Any] | None:
        self.reads += 1
        plural, _, name = path.partition("/namespaces/demo/")[2].partition("/")
        objects = self._objects("Job" if plural == "jobs" else "Pod")
        return objects.get(name) if name else {"items": list(objects.values())}

    def _objects(self, kind: str) -> dict[str, dict[str, Any]]:
        found: dict[str, dict[str, Any]] = {}
        if self.gone_at is not None and self.at >= self.gone_at:
            return found
        for sent in self._events:
            if sent.at <= self.at and sent.kind == kind:
                found[sent.name] = sent.body
                if sent.deleted:
                    del found[sent.name]
        return found
