"""Nobody may do more in the cluster than is done: the Roles against the calls of the adapter, really made."""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from support.clusters import stage_job
from support.deployment import FUNCTIONS, ROOT, of_kind
from support.fake_kube import FakeKube
from support.records import record

from functions.cluster.kubernetes.cluster import KubernetesCluster
from functions.cluster.ports import Cluster, StageJob
from functions.settings import Settings
from functions.workflow.model import Stage
from functions.workflow.tick import TickLevel

Right = tuple[str, str, str]  # verb, group, resource
# Whose code calls the cluster. The engine is shared by those who change something.
ENGINE = ("functions/engine/transitions.py", "functions/engine/effects.py", "functions/engine/tick_control.py")
CALLERS = {
    "submit": ("functions/submit", *ENGINE),
    "advance": ("functions/advance", *ENGINE),
    "status": ("functions/status",),
}


def methods(function: str) -> set[str]:
    """The methods of the port that the function's code names."""
    paths = [ROOT / name for name in CALLERS[function]]
    files = [file for path in paths for file in (path.rglob("*.py") if path.is_dir() else [path])]
    named = {found for file in files for found in re.findall(r"\bcluster\.([a-z_]+)\b", file.read_text())}
    return {name for name in named if callable(vars(Cluster).get(name))}


def calls(method: str, kube: FakeKube, folder: Path) -> set[Right]:
    """What the method asks of the API, with our objects there and with none."""
    cluster = KubernetesCluster(Settings(kubeconfig=kube.kubeconfig(folder), tick_broker="sluice/sluice"))
    there, absent = stage_job("w1", Stage.CONFIGURE), stage_job("w2", Stage.CONFIGURE)
    ref = replace(there.ref, uid=cluster.create(there))
    kube.finish(ref.name, 3)
    kube.put("workflows", {"metadata": {"name": "w1"}})
    uses: dict[str, Callable[[], object]] = {
        "create": lambda: (cluster.create(there), cluster.create(with_prefetch(absent))),
        "delete": lambda: (cluster.delete(there.ref), cluster.delete(absent.ref)),
        "clean_up": lambda: cluster.clean_up(ref.workflow, "demo"),
        "orphans": lambda: cluster.orphans("demo", 10),
        "read": lambda: (cluster.read(ref, kube.pod_of(ref.name)), cluster.read(there.ref)),
        "logs": lambda: list(cluster.logs(ref, 10, 100)),
        "follow": lambda: list(cluster.follow(ref, 1)),
        "set_tick": lambda: any(map(cluster.set_tick, (TickLevel.FAST, TickLevel.SLOW, TickLevel.NONE))),
        "workflow_object": lambda: cluster.workflow_object("demo/w1"),
        "report": lambda: cluster.report("demo/w1", record().workflow),
    }
    kube.rights.clear()
    uses[method]()
    return set(kube.rights)


def with_prefetch(job: StageJob) -> StageJob:
    return replace(job, environment=msgspec.structs.replace(job.environment, prefetch=True))


def granted(function: str) -> set[Right]:
    roles = of_kind("install", "Role")
    names = {
        binding["roleRef"]["name"]
        for binding in of_kind("install", "RoleBinding").values()
        if function in (subject["name"] for subject in binding["subjects"])
    }
    return {
        (verb, group, name)
        for role in names
        for rule in roles[role]["rules"]
        for group in rule["apiGroups"]
        for name in rule["resources"]
        for verb in rule["verbs"]
    }


@pytest.mark.parametrize("function", FUNCTIONS)
def test_each_function_has_exactly_the_rights_it_uses(function: str, tmp_path: Path) -> None:
    made: set[Right] = set()
    for method in methods(function):
        with closing(FakeKube()) as kube:
            made |= calls(method, kube, tmp_path)
    assert made == granted(function)


def test_nobody_may_read_a_secret_and_nothing_is_granted_cluster_wide() -> None:
    assert of_kind("install", "ClusterRole") == of_kind("install", "ClusterRoleBinding") == {}
    for name, role in of_kind("install", "Role").items():
        for rule in role["rules"]:
            assert "*" not in (*rule["verbs"], *rule["resources"], *rule["apiGroups"]), name
            if "secrets" in rule["resources"]:
                assert rule["verbs"] == ["create"], name


def test_each_role_is_bound_to_the_account_of_its_name() -> None:
    bound = {
        (binding["roleRef"]["name"], subject["namespace"], subject["name"])
        for binding in of_kind("install", "RoleBinding").values()
        for subject in binding["subjects"]
    }
    assert bound == {
        *(("sluice-tick", "sluice", name) for name in ("submit", "advance")),
        *((f"sluice-{name}", "sluice", name) for name in (*FUNCTIONS, "events")),
        ("sluice-events", "ocean-compute", "events"),  # kn's sources watch their own namespace alone
    }
