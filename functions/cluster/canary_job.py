"""The Job of a canary: an algorithm that belongs to no workflow."""

from __future__ import annotations

from functions.cluster.ports import StageJob
from functions.workflow.document import Algorithm, Compute, Container, Definition, Output, StageDocument
from functions.workflow.environment import Environment
from functions.workflow.model import Limits, Scope, Stage, WorkflowId


def canary_job(name: str, entrypoint: str, environment: Environment | None = None) -> StageJob:
    """An algorithm with small limits. `entrypoint`: its command; `environment`: by default one without settings."""
    stage = StageDocument(
        algorithm=Algorithm(container=Container(entrypoint)), compute=Compute(), input=[], output=Output()
    )
    return StageJob(
        workflow=WorkflowId(name),
        stage=Stage.ALGORITHM,
        attempt=1,
        environment=environment or Environment(id="canary"),
        limits=Limits(cpu=0.1, memory=128 << 20, disk=64 << 20),
        definition=Definition(stages=[stage]),
        secret="",
        scope=Scope.ADMIN_LOGS,
        results="",
    )
