"""The canary: a Job with an algorithm's labels and security that tries to reach the network.

Many network plugins accept NetworkPolicies and ignore them. Only an attempt shows whether they are enforced.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from msgspec import Struct

from functions.cluster import escape_probe
from functions.cluster.canary_job import canary_job
from functions.cluster.kubernetes import canary_probe, job_status, pods
from functions.cluster.kubernetes.client import Api
from functions.cluster.kubernetes.objects import Body, get_mapping, get_mappings, get_text
from functions.cluster.labels import JOB_NAME, MANAGED_BY
from functions.cluster.ports import State
from functions.settings import Settings
from functions.workflow.environment import Environment
from functions.workflow.model import Stage

# Not `sluice`: the event sources and the sweep must not take the canary for a workflow's Job.
MANAGER = "sluice-doctor"
TIMEOUT = 180.0  # seconds, with the time for scheduling and for pulling the image
POLL_INTERVAL = 1.0  # seconds


class NoReport(Exception):
    """The canary proved nothing; the message says why and what to do."""


class CanaryReport(Struct, frozen=True):
    """The targets that the canary tried, those it reached, and those it still reached after some seconds."""

    tried: Sequence[str]
    reached: Sequence[str]
    still_reached: Sequence[str]


def manifest(
    name: str, environment: Environment, image: str, public: str, more: Sequence[str] = (), *, escapes: bool = False
) -> dict[str, Any]:
    """The canary's Job: an algorithm's Pod in this environment, with another program and manager and no volume.

    `public` and `more`: addresses (`host:port`) to try, besides those inside the cluster. `escapes`: try every way out
    of the Pod (functions/cluster/escape_probe.py), instead of only the network.
    """
    template = pods.pod_template(canary_job(name, "true", environment), Settings(), name)
    labels = {**template["metadata"]["labels"], MANAGED_BY: MANAGER}
    spec = template["spec"]
    spec["volumes"] = [volume for volume in spec["volumes"] if "emptyDir" in volume]
    (container,) = spec["containers"]
    kept = {volume["name"] for volume in spec["volumes"]}
    container["volumeMounts"] = [mount for mount in container["volumeMounts"] if mount["name"] in kept]
    container["image"] = image
    container["imagePullPolicy"] = environment.pull_policy
    if environment.pull_secret:  # this image is the operator's own
        spec["imagePullSecrets"] = [{"name": environment.pull_secret}]
    container["command"] = ["python", "-c", _source(escape_probe if escapes else canary_probe)]
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
            "activeDeadlineSeconds": int(TIMEOUT),
            "ttlSecondsAfterFinished": 300,  # in case the doctor dies before
            "template": {"metadata": {"labels": labels}, "spec": spec},
        },
    }


def run(api: Api, job: dict[str, Any]) -> CanaryReport:
    """Create the Job, wait for its Pod's report and delete it. Raises NoReport and ClusterError."""
    namespace, name = job["metadata"]["namespace"], job["metadata"]["name"]
    jobs = f"/apis/batch/v1/namespaces/{namespace}/jobs"
    api.post(jobs, job)
    try:
        return _wait(api, namespace, name)
    finally:
        api.delete(f"{jobs}/{name}", {"propagationPolicy": "Background"})


def _wait(api: Api, namespace: str, name: str) -> CanaryReport:
    end = time.monotonic() + TIMEOUT
    waiting = "it has no Pod"
    while time.monotonic() < end:
        found = api.get(f"/api/v1/namespaces/{namespace}/pods", labelSelector=f"{JOB_NAME}={name}") or {}
        for pod in get_mappings(found, "items"):
            status = job_status.status_of_pod(pod, Stage.ALGORITHM)
            if status.state is State.ENDED:
                return read_report(pod)
            waiting = status.reason or "it has not ended"
        time.sleep(POLL_INTERVAL)
    raise NoReport(f"the canary reported nothing within {TIMEOUT:.0f} s: {waiting}")


def read_report(pod: Body) -> CanaryReport:
    """Read the report in the termination message of the ended Pod. Raises NoReport if there is none."""
    for container in get_mappings(get_mapping(pod, "status"), "containerStatuses"):
        terminated = get_mapping(container, "state", "terminated")
        try:
            report = json.loads(get_text(terminated, "message"))
            return CanaryReport(list(report["tried"]), list(report["reached"]), list(report["still_reached"]))
        except (ValueError, KeyError, TypeError):
            code = terminated.get("exitCode")
            raise NoReport(
                f"the canary ended with exit code {code} and without a report; give it an image with Python (--image)"
            ) from None
    raise NoReport("the canary's Pod ended without its container: it was evicted, or its node refused it")


@cache
def _source(program: ModuleType) -> str:
    """The source of a program that the canary runs."""
    assert program.__file__ is not None
    return Path(program.__file__).read_text()
