"""Every Pod keeps to Pod Security "restricted" and to our own rules beyond it, for every environment."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.stage_objects import make, spec

from functions.cluster.ports import StageJob
from functions.workflow.environment import Environment
from functions.workflow.model import Limits, Stage

environments = st.builds(
    Environment,
    id=st.just("e"),
    gpu_number=st.integers(0, 8),
    filter_image=st.just("filter:1"),
    runtime_class=st.sampled_from(["", "gvisor"]),
    node_selector=st.sampled_from([{}, {"a": "b"}]),
    pull_secret=st.sampled_from(["", "registry"]),
    queue_name=st.sampled_from(["", "q"]),
    run_as_user=st.integers(1, 65_000),
)
granted = st.builds(
    Limits,
    cpu=st.floats(0.1, 64),
    memory=st.integers(1 << 20, 1 << 40),
    disk=st.integers(1 << 20, 1 << 44),
    gpus=st.integers(0, 8),
)


@settings(max_examples=60, deadline=None)
@given(environment=environments, limits=granted, stage=st.sampled_from(Stage), attempt=st.integers(1, 99))
def test_every_pod_keeps_to_the_policy(environment: Environment, limits: Limits, stage: Stage, attempt: int) -> None:
    job = make(stage, environment, limits=limits, attempt=attempt)
    assert list(deviations(job)) == []


def deviations(job: StageJob) -> Iterator[str]:
    """What is wrong with the Pod of a stage: Pod Security "restricted", and our own rules beyond it."""
    pod = spec(job)
    context = pod["securityContext"]
    if pod.get("automountServiceAccountToken") is not False or "serviceAccountName" in pod:
        yield "a token"
    if pod.get("enableServiceLinks") is not False:
        yield "service links"
    if pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "hostUsers", "initContainers", "ephemeralContainers"}:
        yield "the host"
    if not context["runAsNonRoot"] or not context["runAsUser"] > 0 or not context["fsGroup"] > 0:
        yield "root"
    if context["seccompProfile"] != {"type": "RuntimeDefault"}:
        yield "no seccomp profile"
    if any(set(volume) - {"name"} - {"emptyDir", "persistentVolumeClaim", "secret"} for volume in pod["volumes"]):
        yield "a volume of another kind"
    for each in pod["containers"]:
        yield from container_deviations(each, job.stage)


def container_deviations(each: dict[str, Any], stage: Stage) -> Iterator[str]:
    expected = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
    if each["securityContext"] != expected:
        yield "privileges"
    requests, limits = each["resources"]["requests"], each["resources"]["limits"]
    # Our own stages have no CPU limit, which would slow their start. A consumer's program gets what it pays for.
    expected_limits, expected_requests = {"cpu", "memory", "ephemeral-storage"}, limits
    if stage in (Stage.CONFIGURE, Stage.CHECK, Stage.PUBLISH, Stage.RELEASE):
        expected_limits, expected_requests = {"memory", "ephemeral-storage"}, {**limits, "cpu": "100m"}
    if requests != expected_requests or limits.keys() - {"nvidia.com/gpu"} != expected_limits:
        yield "limits"
    if "ports" in each or "envFrom" in each:
        yield "ports or a whole Secret in env"
    for variable in each["env"]:
        # `secret` is a variable of Ocean's contract, for algorithm and filter; no other comes from a Secret.
        by_reference = "valueFrom" in variable
        if by_reference != (variable["name"] == "secret") or (
            by_reference and stage in (Stage.CONFIGURE, Stage.PUBLISH)
        ):
            yield f"a secret in env: {variable['name']}"
        if any(word in str(variable.get("value")) for word in ("s3cr3t", "t0p", "postgres")):
            yield f"a secret's value in env: {variable['name']}"


@pytest.mark.parametrize(
    "break_it",
    [
        lambda pod: pod.update(automountServiceAccountToken=True),
        lambda pod: pod["containers"][0]["securityContext"].pop("capabilities"),
        lambda pod: pod["containers"][0]["resources"]["limits"].pop("memory"),
        lambda pod: pod["securityContext"].update(runAsUser=0),
        lambda pod: pod["containers"][0]["env"].append({"name": "x", "value": "s3cr3t"}),
        lambda pod: pod["volumes"].append({"name": "x", "hostPath": {"path": "/"}}),
    ],
)
def test_the_check_of_the_policy_notices_a_deviation(break_it: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    job = make(Stage.ALGORITHM)
    broken = deepcopy(spec(job))  # the Pods share their constant parts
    break_it(broken)
    monkeypatch.setitem(globals(), "spec", lambda _: broken)
    assert list(deviations(job)) != []
