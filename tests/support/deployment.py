"""What the deployment consists of, rendered; and the Pods in it, whatever kind makes them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from support.kustomize import Manifest, read, render
from werkzeug.test import EnvironBuilder
from werkzeug.wrappers import Request

from functions.api.http import Router
from functions.engine.app import App

ROOT = Path(__file__).parents[2]
INSTALL = ROOT / "k8s_install"
FILLED_IN = {  # instead of what the production overlay leaves open
    "0xADDRESS-OF-YOUR-PROVIDER": "0x" + "1" * 40,
    "0xADDRESS-OF-THE-OPERATOR": "0x" + "2" * 40,
}
OVERLAYS = ("kind", "production", "eventing-only", "eventing-only-try-out")
TRY_OUT = ("kind", "eventing-only-try-out")  # known passwords, any signature
WITH_FUNCTIONS = ("base", *OVERLAYS)
FUNCTIONS = ("submit", "advance", "status")
SERVING = "serving.knative.dev/"


@cache
def rendered(name: str) -> tuple[Manifest, ...]:
    """`base`, an overlay, or `install`: everything in k8s_install."""
    if name == "install":
        files = sorted(f for f in INSTALL.iterdir() if f.is_file() and f.name != "kustomization.yaml")
        return tuple(obj for file in files for obj in read(file))
    folder = "base" if name == "base" else f"overlays/{name}"
    return tuple(render(ROOT / "knative" / folder))


EVERYTHING = (*WITH_FUNCTIONS, "install")


def of_kind(name: str, kind: str, group: str = "") -> dict[str, Manifest]:
    """The objects of a kind by name."""
    return {
        obj["metadata"]["name"]: obj
        for obj in rendered(name)
        if obj["kind"] == kind and obj["apiVersion"].startswith(group)
    }


def pods(name: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """The Pod specs of Knative Services, Deployments, StatefulSets and Jobs."""
    for obj in rendered(name):
        template = obj.get("spec", {}).get("template", {})
        if "containers" in template.get("spec", {}):
            yield f"{obj['kind']} {obj['metadata']['name']}", template["spec"]


def function_pods(name: str) -> dict[str, dict[str, Any]]:
    """The Pod spec of each function."""
    return {label.split()[1]: spec for label, spec in pods(name) if label.split()[1] in FUNCTIONS}


def environment(pod: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a Pod's `env`, by variable."""
    return {entry["name"]: entry for entry in pod["containers"][0]["env"]}


def answer(function: str, method: str, path: str, app: App) -> int:
    """The status that the function's own router answers, without a server."""
    module = importlib.import_module(f"functions.{function}.main")
    (router,) = [value for value in vars(module).values() if isinstance(value, Router)]
    status: int = router.answer(Request(EnvironBuilder(path, method=method).get_environ()), lambda: app).status_code
    return status
