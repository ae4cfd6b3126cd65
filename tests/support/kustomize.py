"""As much of kustomize as knative/ and k8s_install/ use: resources, components, patches, images,
replacements.

It refuses what it does not know, and merge patches with lists, where kustomize's result depends on the kind's schema.
"""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import yaml

Manifest = dict[str, Any]
KNOWN = {"apiVersion", "kind", "resources", "components", "patches", "images", "replacements"}


def render(folder: Path) -> list[Manifest]:
    """What `kubectl kustomize <folder>` prints, in the order of the resources."""
    return _build(folder.resolve(), [])


def read(file: Path) -> list[Manifest]:
    """The manifests of one file."""
    return [obj for obj in yaml.safe_load_all(file.read_text()) if obj]


def _build(folder: Path, found: list[Manifest]) -> list[Manifest]:
    (plan,) = read(folder / "kustomization.yaml")
    if unknown := plan.keys() - KNOWN:
        raise ValueError(f"{folder}: this renderer does not know {unknown}")
    for name in plan.get("resources", []):
        path = (folder / name).resolve()
        if path.is_file() and not path.is_relative_to(folder):
            raise ValueError(f"{path} is outside {folder}: kustomize refuses that")
        found = found + (_build(path, []) if path.is_dir() else read(path))
    for name in plan.get("components", []):
        found = _build((folder / name).resolve(), found)
    for patch in plan.get("patches", []):
        found = _patch(found, patch, folder)
    for image in plan.get("images", []):
        for obj in found:
            _set_image(obj, image)
    for replacement in plan.get("replacements", []):
        _replace(found, replacement)
    _refuse_doubles(found)
    return found


def _refuse_doubles(found: list[Manifest]) -> None:
    seen = [identity(obj) for obj in found]
    if doubles := {key for key in seen if seen.count(key) > 1}:
        raise ValueError(f"twice: {doubles}")


def identity(obj: Manifest) -> tuple[str, str, str, str]:
    metadata = obj["metadata"]
    return obj["apiVersion"].partition("/")[0], obj["kind"], metadata.get("namespace", ""), metadata["name"]


def _patch(found: list[Manifest], patch: Manifest, folder: Path) -> list[Manifest]:
    (body,) = list(yaml.safe_load_all(patch["patch"] if "patch" in patch else (folder / patch["path"]).read_text()))
    target = patch.get("target")
    hits = [obj for obj in found if (_selected(obj, target) if target else identity(obj) == identity(body))]
    if not hits:
        raise ValueError(f"a patch in {folder} hits nothing: {patch}")
    if isinstance(body, dict) and body.get("$patch") == "delete":
        return [obj for obj in found if obj not in hits]
    changed = {id(obj): _operations(obj, body) if isinstance(body, list) else _merge(obj, body) for obj in hits}
    return [changed.get(id(obj), obj) for obj in found]


def _selected(obj: Manifest, target: Manifest) -> bool:
    """Whether a target names the object; kustomize reads each part as a regular expression."""
    group = obj["apiVersion"].partition("/")[0] if "/" in obj["apiVersion"] else ""
    parts = {"group": group, "kind": obj["kind"], "name": obj["metadata"]["name"]}
    return all(re.fullmatch(target.get(part, ".*"), value) for part, value in parts.items())


def _operations(obj: Manifest, operations: list[Manifest]) -> Manifest:
    """A JSON patch (RFC 6902) of `add` to mappings and to the ends of lists, and `replace`."""
    result = copy.deepcopy(obj)
    for operation in operations:
        *path, last = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place: Any = result
        for part in path:
            place = place[int(part) if isinstance(place, list) else part]
        if operation["op"] == "add" and isinstance(place, list) and last == "-":
            place.append(operation["value"])
            continue
        if operation["op"] not in ("add", "replace") or not isinstance(place, dict):
            raise ValueError(f"this renderer does not do {operation}")
        if operation["op"] == "replace" and last not in place:
            raise ValueError(f"nothing to replace at {operation['path']}")
        place[last] = operation["value"]
    return result


def _merge(obj: Any, patch: Any) -> Any:
    if isinstance(patch, list):
        raise ValueError("a merge patch with a list: what comes of it depends on the kind")
    if not isinstance(patch, dict) or not isinstance(obj, dict):
        return patch
    merged = {**obj, **{key: _merge(obj.get(key), value) for key, value in patch.items()}}
    return {key: value for key, value in merged.items() if value is not None}


def _set_image(node: Any, image: Manifest) -> None:
    if isinstance(node, list):
        for item in node:
            _set_image(item, image)
    elif isinstance(node, dict):
        for container in node.get("containers") or []:
            name, _, tag = container["image"].rpartition(":")
            if name == image["name"]:
                container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
        for value in node.values():
            _set_image(value, image)


def _replace(found: list[Manifest], replacement: Manifest) -> None:
    """Copy a field of the one source into fields of the targets."""
    source = replacement["source"]
    (origin,) = [obj for obj in found if _selected(obj, source)]
    value: Any = origin
    for part in source["fieldPath"].split("."):
        value = value[int(part) if isinstance(value, list) else part]
    for target in replacement["targets"]:
        for path in target["fieldPaths"]:
            *parents, last = path.split(".")
            for obj in found:
                if _selected(obj, target["select"]):
                    place = obj
                    for part in parents:
                        place = place[part]
                    if last not in place:
                        raise ValueError(f"nothing to replace at {path}")
                    place[last] = value
