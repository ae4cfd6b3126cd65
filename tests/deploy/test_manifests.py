"""Every manifest passes a strict schema and says where it belongs."""

from __future__ import annotations

import pytest
from support.deployment import EVERYTHING, ROOT, rendered
from support.kustomize import render
from support.schemas import errors


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_object_passes_a_strict_schema(name: str) -> None:
    found = {f"{obj['kind']} {obj['metadata']['name']}": errors(obj) for obj in rendered(name)}
    assert {key: value for key, value in found.items() if value} == {}


def test_the_schemas_refuse_a_misspelt_field() -> None:
    for obj in (*rendered("kind"), *rendered("install")):
        if obj["kind"] not in ("ConfigMap", "Secret", "ServiceAccount", "WorkFlow"):
            assert errors({**obj, "spec": {**obj.get("spec", {}), "misspelt": 1}, "rulez": []}), obj["kind"]


def test_the_install_kustomization_holds_what_every_cluster_needs() -> None:
    kinds = {obj["kind"] for obj in render(ROOT / "k8s_install")}
    assert {"Namespace", "CustomResourceDefinition", "Role", "NetworkPolicy", "ResourceQuota"} <= kinds
    assert not kinds & {"Secret", "StatefulSet", "Job", "WorkFlow"}


@pytest.mark.parametrize("name", EVERYTHING)
def test_every_namespaced_object_names_its_namespace(name: str) -> None:
    cluster_wide = {"Namespace", "CustomResourceDefinition", "GatewayClass"}
    assert [o for o in rendered(name) if o["kind"] not in cluster_wide and "namespace" not in o["metadata"]] == []
