"""Strict checks of manifests: unknown fields are errors, which the API servers of CRDs would let pass."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from kubernetes_validate.utils import SchemaNotFoundError, ValidationError, validate

DATA = Path(__file__).parents[1] / "data"
KUBERNETES = "1.36"
WORKFLOW = "oceanprotocol.com/v1alpha/WorkFlow"


def errors(obj: dict[str, Any]) -> list[str]:
    """What is wrong with one object; a kind without a schema is wrong too."""
    kind = f"{obj.get('apiVersion')}/{obj.get('kind')}"
    if kind in _custom():
        found = jsonschema.Draft202012Validator(_custom()[kind]).iter_errors(obj)
        return [f"{'/'.join(map(str, e.absolute_path)) or '.'}: {e.message}" for e in found]
    try:
        validate(obj, KUBERNETES, strict=True)
    except ValidationError as e:
        return [f"{'/'.join(map(str, e.path)) or '.'}: {e.message}"]
    except SchemaNotFoundError:
        return [f"no schema for {kind}"]
    return []


@cache
def _custom() -> dict[str, Any]:
    """The schemas of kinds that are not Kubernetes' own, by `apiVersion/kind`."""
    knative: dict[str, Any] = json.loads((DATA / "knative-schemas.json").read_text())
    gateway: dict[str, Any] = yaml.safe_load((DATA / "gateway-schemas.yaml").read_text())
    return {**knative, **gateway, WORKFLOW: workflow_schema()}


def workflow_schema() -> dict[str, Any]:
    """The JSON schema of our own CRD."""
    crd = yaml.safe_load((Path(__file__).parents[2] / "k8s_install/workflow-crd.yaml").read_text())
    (version,) = crd["spec"]["versions"]
    return _as_json_schema(version["schema"]["openAPIV3Schema"])


def _as_json_schema(node: dict[str, Any]) -> dict[str, Any]:
    """Kubernetes' dialect in plain JSON schema."""
    schema = {key: value for key, value in node.items() if not key.startswith("x-kubernetes-") and key != "nullable"}
    if node.get("x-kubernetes-int-or-string"):
        schema["type"] = ["integer", "string"]
    if node.get("nullable") and "type" in schema:
        schema["type"] = [*([schema["type"]] if isinstance(schema["type"], str) else schema["type"]), "null"]
    if "properties" in node:
        schema["properties"] = {name: _as_json_schema(value) for name, value in node["properties"].items()}
    if "items" in node:
        schema["items"] = _as_json_schema(node["items"])
    return schema
