"""The manifests of `knative/base`: the laptop uses the same Triggers, sources and routes as a cluster."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class ManifestError(ValueError):
    """A manifest uses a feature that the laptop does not support. The message names both."""


def folder() -> Path:
    """The folder of the manifests: in the package if it was installed from a wheel, else in the source tree."""
    packaged = Path(__file__).parent / "manifests"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "knative" / "base"


def load(path: Path | None = None) -> list[dict[str, Any]]:
    """Read all objects of the folder. Raises ManifestError if there are none."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast; not every build has it
    files = sorted((path or folder()).glob("*.yaml"))
    if not files:
        raise ManifestError(f"no manifests in {path or folder()}; install Sluice again")
    return [item for file in files for item in yaml.load_all(file.read_bytes(), loader) if item]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [item for item in objects if item.get("kind") == kind]
