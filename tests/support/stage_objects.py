"""The Kubernetes objects of a stage, in a plain environment and in one with every option."""

from __future__ import annotations

from typing import Any

import pytest

from functions.cluster.kubernetes import job_manifests
from functions.cluster.ports import StageJob
from functions.settings import Settings
from functions.workflow.document import parse
from functions.workflow.environment import Environment
from functions.workflow.model import Limits, Scope, Stage, WorkflowId
from functions.workflow.stage_options import GIB

OWNER_UID = "0badc0de-0000-4000-8000-000000000000"
SETTINGS = Settings(image="ghcr.io/example/sluice:1.0")
PLAIN = Environment(id="ocean-compute")
RICH = Environment(
    id="gpu",
    namespace="gpu-jobs",
    gpu_number=2,
    filter_image="ghcr.io/example/filter@sha256:" + "0" * 64,
    filter_command=("/filter", "--strict"),
    runtime_class="gvisor",
    node_selector={"pool": "gpu"},
    tolerations=({"key": "gpu", "operator": "Exists", "effect": "NoSchedule"},),
    pull_secret="registry",
    pull_secret_images=("python",),
    pull_policy="Always",
    storage_class="fast",
    queue_name="team",
    run_as_user=4242,
)
DOCUMENT = {
    "stages": [
        {
            "index": 0,
            "input": [
                {"index": 0, "id": "did:op:aa", "url": ["https://data.example/a.csv?token=t0p"]},
                {"index": 1, "url": "https://data.example/b.csv"},
            ],
            "compute": {},
            "output": {},
            "algorithm": {
                "id": "did:op:bb",
                "rawcode": "print('hello')",
                "container": {"entrypoint": "python3 $ALGO", "image": "python", "tag": "3.11"},
            },
        }
    ]
}


def make(stage: Stage, environment: Environment = PLAIN, **changes: Any) -> StageJob:
    limits = Limits(algorithm_seconds=90, cpu=1.5, memory=2 * GIB, disk=10 * GIB, gpus=environment.gpu_number)
    values: dict[str, Any] = {
        "workflow": WorkflowId("3c1f0f5e8a7b4c2d9e6f1a2b3c4d5e6f"),
        "stage": stage,
        "attempt": 1,
        "environment": environment,
        "limits": limits,
        "definition": parse(DOCUMENT),
        "secret": "s3cr3t",
        "scope": Scope.OUTPUTS,
        "results": "s3://results/sluice",
    }
    return StageJob(**(values | changes))


def objects(job: StageJob) -> list[dict[str, Any]]:
    return [
        job_manifests.owner(job),
        job_manifests.secret(job, OWNER_UID),
        job_manifests.claim(job, OWNER_UID),
        job_manifests.stage_job(job, OWNER_UID, SETTINGS),
    ]


def spec(job: StageJob) -> dict[str, Any]:
    pod: dict[str, Any] = job_manifests.stage_job(job, OWNER_UID, SETTINGS)["spec"]["template"]["spec"]
    return pod


def container(job: StageJob) -> dict[str, Any]:
    [only] = spec(job)["containers"]
    return dict(only)


EVERY = [pytest.param(make(stage, env), id=f"{env.id}-{stage}") for env in (PLAIN, RICH) for stage in Stage]
