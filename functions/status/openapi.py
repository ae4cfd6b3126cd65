"""The OpenAPI 3.1 document, from the routing table and the types that validate requests and shape answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from functions import __version__
from functions.api.http import Route
from functions.api.ocean import routes
from functions.status import ocean_descriptions as ocean
from functions.status import proof_descriptions as proof
from functions.status import tes_descriptions as tes
from functions.status.route_description import ERRORS, Error, Operation
from functions.workflow.document import DIALECT

_OCEAN = {**{route: ocean.OPERATIONS[route] for route in routes.TABLE}, **ocean.REVIEW, **proof.OPERATIONS}
_TES = tes.OPERATIONS
DESCRIBED = {**_OCEAN, **_TES}
_TEXT_SCHEMA = {"type": "string"}
_PARAMETERS = {**ocean.PARAMETERS, **proof.PARAMETERS, **tes.PARAMETERS}
_SCHEMAS = "#/components/schemas/"


def document() -> dict[str, Any]:
    """Build the document."""
    schema_of, components = _schemas(_OCEAN)
    tes_schema_of, tes_components = _schemas(_TES, "tes")
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in DESCRIBED.items():
        path = route.path.replace("<", "{").replace(">", "}")
        known = tes_schema_of if route in _TES else schema_of
        paths.setdefault(path, {})[route.method.lower()] = _operation(operation, known)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice",
            "version": __version__,
            "description": "Ocean's operator-service API below `/api/v1/operator`, where all parameters are in the "
            "query, or all in a JSON body; and GA4GH TES 1.1 below `/ga4gh/tes/v1`.",
        },
        "paths": paths,
        "components": {
            "schemas": {**components, **tes_components},
            "securitySchemes": {
                "admin": {"type": "apiKey", "in": "header", "name": "Admin"},
                "bearer": {"type": "http", "scheme": "bearer"},
                "basic": {"type": "http", "scheme": "basic", "description": "The token is the password"},
            },
        },
    }


def _schemas(operations: Mapping[Route, Operation], prefix: str = "") -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the schema of each type by its repr, and the components. `prefix` begins the names of the components.

    Both dialects have types of the same names, such as Input.
    """
    kinds = [Error, *(kind for operation in operations.values() for kind in operation.types)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template=f"{_SCHEMAS}{prefix}{{name}}")
    schema_of = {repr(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    return schema_of, {f"{prefix}{name}": _without_dialect(schema) for name, schema in components.items()}


def _without_dialect(schema: dict[str, Any]) -> dict[str, Any]:
    """Remove the tag of our own files from a document's schema: no client sends it."""
    if DIALECT in schema.get("properties", {}):
        schema["properties"].pop(DIALECT)
        schema["required"].remove(DIALECT)
    return schema


def _operation(operation: Operation, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "summary": operation.summary,
        "parameters": [
            *({"in": "path", "name": name, "required": True, "schema": _TEXT_SCHEMA} for name in operation.in_path),
            *({"in": "query", **_parameter(name)} for name in operation.parameters),
            *({"in": "header", "name": name, "schema": {"type": "string"}} for name in operation.headers),
        ],
        "responses": _responses(operation, schema_of),
    }
    if operation.body is not None:
        content = {"application/json": {"schema": schema_of[repr(operation.body)]}}
        described["requestBody"] = {"required": True, "content": content}
    if operation.admin:
        described["security"] = [{"admin": []}]
    if operation.token:
        described["security"] = [{"bearer": []}, {"basic": []}]
    return described


def _parameter(name: str) -> dict[str, Any]:
    """Describe a parameter. A name that ends with `!` is required."""
    plain = name.rstrip("!")
    return {"name": plain, "required": name.endswith("!"), "schema": _PARAMETERS[plain]}


def _responses(operation: Operation, schema_of: Mapping[str, Any]) -> dict[str, Any]:
    answer = operation.answer
    media = answer if isinstance(answer, str) else "application/json"
    schema = {} if isinstance(answer, str) else {"schema": schema_of[repr(answer)]}
    success = {"description": operation.summary, "content": {media: schema}}
    error = {"application/json": {"schema": schema_of[repr(Error)]}}
    return {
        **{str(code): success for code in (200, *operation.also)},
        **{str(code): {"description": ERRORS[code], "content": error} for code in sorted(operation.errors)},
    }
