"""The manifests that a cluster gets too: the laptop routes by the same Triggers, sources and routes."""

from __future__ import annotations

from pathlib import Path
from typing import Any


class ManifestError(ValueError):
    """A manifest asks for something that the laptop cannot do; the message says which and what."""


def folder() -> Path:
    """knative/base: inside the package where it is installed from a wheel, else beside it."""
    packaged = Path(__file__).parent / "manifests"
    return packaged if packaged.is_dir() else Path(__file__).parents[2] / "knative" / "base"


def load(path: Path | None = None) -> list[dict[str, Any]]:
    """All objects of the folder."""
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where it was built
    files = sorted((path or folder()).glob("*.yaml"))
    if not files:
        raise ManifestError(f"no manifests in {path or folder()}; the installation is incomplete")
    return [item for file in files for item in yaml.load_all(file.read_bytes(), loader) if item]


def of_kind(objects: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [item for item in objects if item.get("kind") == kind]
