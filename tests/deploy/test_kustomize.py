"""The tests' own renderer against the real one: what they check is what `kubectl apply -k` sends."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from support.deployment import OVERLAYS, ROOT
from support.kustomize import identity, render

FOLDERS = (
    "k8s_install",
    "knative/base",
    *(f"knative/overlays/{name}" for name in OVERLAYS),
    "knative/components/event-policy",
)
needs_kubectl = pytest.mark.skipif(shutil.which("kubectl") is None, reason="there is no kubectl on the PATH")


def kustomized(folder: Path) -> tuple[str, str]:
    """What the real one prints, and what it complains of."""
    done = subprocess.run(["kubectl", "kustomize", str(folder)], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout, done.stderr


@needs_kubectl
@pytest.mark.parametrize("folder", FOLDERS)
def test_kubectl_renders_the_same_objects_without_warnings(folder: str) -> None:
    text, complaints = kustomized(ROOT / folder)
    real = {identity(obj): obj for obj in yaml.safe_load_all(text)}
    assert {identity(obj): obj for obj in render(ROOT / folder)} == real
    assert complaints == ""


@needs_kubectl
def test_namespaces_and_kinds_are_applied_before_the_objects_in_them() -> None:
    kinds = [obj["kind"] for obj in yaml.safe_load_all(kustomized(ROOT / "k8s_install")[0])]
    rest = [kind for kind in kinds if kind not in ("Namespace", "ResourceQuota", "CustomResourceDefinition")]
    assert max(at for at, kind in enumerate(kinds) if kind == "Namespace") < kinds.index("ServiceAccount")
    assert kinds.index("CustomResourceDefinition") < kinds.index(rest[0])


def test_every_kustomization_is_compared() -> None:
    found = {str(file.parent.relative_to(ROOT)) for part in ("knative", "k8s_install") for file in _plans(part)}
    # A component that patches cannot be rendered alone; it is part of the overlays that name it.
    parts = {f"knative/components/{name}" for name in ("functions", "kourier", "policies", "try-out")}
    # It generates a ConfigMap from the dashboard, which our renderer does not. test_observability.py checks it.
    assert found == {*FOLDERS, *parts, "k8s_install/observability"}


def _plans(part: str) -> list[Path]:
    return list((ROOT / part).rglob("kustomization.yaml"))
