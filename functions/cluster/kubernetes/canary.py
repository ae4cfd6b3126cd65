"""The canary: a Job in the algorithm's place, with its labels and its security, that tries to get out.

Many network plugins accept NetworkPolicies and ignore them. Nothing but trying tells.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from functions.cluster.kubernetes import job_status, pods
from functions.cluster.kubernetes.client import Api
from functions.cluster.labels import JOB_NAME, MANAGED_BY
from functions.cluster.ports import StageJob, State
from functions.settings import Settings
from functions.workflow.document import Algorithm, Compute, Container, Definition, Output, StageDocument
from functions.workflow.environment import Environment
from functions.workflow.model import Limits, Scope, Stage, WorkflowId

# Not `sluice`: neither the sources nor the sweep shall take the canary for a workflow's Job.
MANAGER = "sluice-doctor"
WAIT = 180.0  # seconds for scheduling and the image
PAUSE = 1.0


class NoVerdict(Exception):
    """The canary could not try; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the canary tried to reach, what it did reach, and what of that still after its first seconds."""

    tried: Sequence[str]
    reached: Sequence[str]
    lasting: Sequence[str]


def manifest(name: str, environment: Environment, image: str, public: str, more: Sequence[str] = ()) -> dict[str, Any]:
    """The Job. Its Pod is the one of an algorithm in this environment, but for program, volume and manager."""
    template = pods.pod(_stage_job(name, environment), Settings(), name)
    labels = {**template["metadata"]["labels"], MANAGED_BY: MANAGER}
    spec = template["spec"]
    spec["volumes"] = [volume for volume in spec["volumes"] if "emptyDir" in volume]
    (container,) = spec["containers"]
    kept = {volume["name"] for volume in spec["volumes"]}
    container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] in kept]
    container["image"] = image
    container["command"] = ["python", "-c", _probe()]
    container["env"] = [
        {"name": "PUBLIC_ADDRESS", "value": public},
        {"name": "MORE_ADDRESSES", "value": ",".join(more)},
        {"name": "NODE_ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.hostIP"}}},
    ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name, "namespace": environment.namespace, "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": int(WAIT),
            "ttlSecondsAfterFinished": 300,  # should its doctor die before
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def send(api: Api, job: dict[str, Any]) -> Verdict:
    """Create the Job, wait for its Pod's word, remove it. Raises NoVerdict and ClusterError."""
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    api.post(jobs, job)
    try:
        return _wait(api, namespace, name)
    finally:
        api.delete(f"{jobs}/{name}", {"propagationPolicy": "Background"})


def _wait(api: Api, namespace: str, name: str) -> Verdict:
    end = time.monotonic() + WAIT
    waiting = "no Pod was made for it"
    while time.monotonic() < end:
        found = api.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"{JOB_NAME}={name}") or {}
        for pod in job_status.items(found, "items"):
            seen = job_status.judge_pod(pod, Stage.ALGORITHM)
            if seen.state is State.ENDED:
                return verdict(pod)
            waiting = seen.reason or "it has not ended"
        time.sleep(PAUSE)
    raise NoVerdict(f"the canary said nothing within {WAIT:.0f} s: {waiting}")


def verdict(pod: job_status.Body) -> Verdict:
    """What the ended Pod left as its termination message. Raises NoVerdict: silence is no proof of anything."""
    for container in job_status.items(job_status.part(pod, "status"), "containerStatuses"):
        ended = job_status.part(container, "state", "terminated")
        try:
            said = json.loads(job_status.text(ended, "message"))
            return Verdict(list(said["tried"]), list(said["reached"]), list(said["lasting"]))
        except (ValueError, KeyError, TypeError):
            code = ended.get("exitCode")
            raise NoVerdict(f"the canary ended with exit code {code} and no report; has its image Python?") from None
    raise NoVerdict("the canary's Pod ended before its container: evicted, or refused by its node")


def _stage_job(name: str, environment: Environment) -> StageJob:
    stage = StageDocument(
        algorithm=Algorithm(container=Container("true")), compute=Compute(), input=[], output=Output()
    )
    return StageJob(
        workflow=WorkflowId(name),
        stage=Stage.ALGORITHM,
        attempt=1,
        environment=environment,
        limits=Limits(cpu=0.1, memory=128 << 20, disk=64 << 20),
        definition=Definition(stages=[stage]),
        secret="",
        scope=Scope.ADMIN_LOGS,
        results="",
    )


@cache
def _probe() -> str:
    return Path(__file__).with_name("canary_probe.py").read_text()
