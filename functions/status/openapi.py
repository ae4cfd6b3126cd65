"""The OpenAPI 3.1 document, from the routing table and the types that validate requests and shape answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from functions.api.http import Route
from functions.api.ocean import routes
from functions.api.ocean.answers import Running, Status
from functions.api.review import routes as review
from functions.status.views import Health, Info, Offer, Service, Step
from functions.workflow.document import Definition
from functions.workflow.model import Stage

_TEXT = Annotated[str, msgspec.Meta(min_length=1, max_length=255)]


class Start(TypedDict):
    """The request to start a job. `validUntil` and `providerAddress` are accepted and ignored."""

    workflow: Definition
    agreementId: _TEXT
    owner: _TEXT
    providerSignature: str
    environment: str
    nonce: int | str
    chainId: NotRequired[int | str]
    validUntil: NotRequired[int]
    providerAddress: NotRequired[str]


class Decide(TypedDict):
    """A decision and the signature of the checker's wallet over its canonical JSON (functions/trust/decisions.py)."""

    decision: dict[str, Any]
    signature: str


class OfJob(TypedDict):
    """The job that is meant."""

    jobId: str


class OfScope(TypedDict):
    """`all`, `environment:<id>` or `data:<DID or URL prefix>`."""

    scope: str
    reason: NotRequired[str]


class Error(TypedDict):
    """The answer to every failed request. `id` identifies an internal error in the log."""

    error: str
    id: NotRequired[str]


_ERRORS = {
    400: "The request is invalid, or it is a replay.",
    401: "The signer or the admin is not authorised.",
    403: "The policy, or its checkers, do not allow it.",
    404: "No such job, log or result.",
    408: "The request body did not arrive in time.",
    409: "The job is not in a state for this.",
    410: "The results were removed or have expired.",
    413: "The request body is too large.",
    415: "The body is not JSON with Content-Type: application/json.",
    416: "The range is outside the file.",
    422: "The Idempotency-Key was used for another request.",
    501: "The database needs an upgrade that this image cannot make.",
    502: "The storage of results is unreachable.",
    503: "The database, the cluster or the storage is unavailable; try again after Retry-After seconds.",
    504: "The storage of results did not answer in time.",
}
_BODY = (408, 413, 415)  # every route reads a JSON body if there is no query
_SIGNED = (400, 401, 503, *_BODY)
_ADMIN = (400, 401, 503, *_BODY)


@dataclass(frozen=True)
class Operation:
    """The description of a route. `answer` is a type, or a media type if the answer is not JSON."""

    summary: str
    answer: Any
    errors: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()
    body: Any = None
    admin: bool = False
    headers: tuple[str, ...] = ()
    also: tuple[int, ...] = ()  # other successes
    in_path: tuple[str, ...] = ()

    @property
    def types(self) -> Iterable[Any]:
        return [kind for kind in (self.answer, self.body) if kind is not None and not isinstance(kind, str)]


_SIGNATURE = ("providerSignature!", "nonce!")
_FILTERS = ("agreementId", "jobId", "owner", "chainId", "limit", "offset")

OPERATIONS: Mapping[Route, Operation] = {
    routes.START: Operation(
        "Start a job",
        list[Status],
        (*_SIGNED, 422),
        body=Start,
        headers=("Idempotency-Key",),
    ),
    routes.JOBS: Operation(
        "List jobs that match all filters, newest first; agreementId, jobId or owner is required",
        list[Status],
        _SIGNED,
        (*_FILTERS, *_SIGNATURE),
    ),
    routes.STOP: Operation(
        "Stop a job, or all jobs of an owner",
        list[Status],
        _SIGNED,
        ("owner!", "agreementId", "jobId", "chainId", "limit", "offset", *_SIGNATURE),
    ),
    routes.DELETE: Operation(
        "Stop a job and remove its results; agreementId or jobId is required",
        list[Status],
        _SIGNED,
        ("owner!", "agreementId", "jobId", "chainId", "limit", "offset", *_SIGNATURE),
    ),
    routes.RESULT: Operation(
        "Download a published file, or a range of it",
        "*/*",
        (*_SIGNED, 404, 410, 416, 502, 504),
        ("owner!", "jobId!", "index!", *_SIGNATURE),
        headers=("Range",),
        also=(206, 304),
    ),
    routes.ENVIRONMENTS: Operation(
        "List the compute environments, or those for one chain",
        list[Offer],
        (400, 503, *_BODY),
        ("chainId",),
    ),
    routes.RUNNING_JOBS: Operation(
        "List the unfinished jobs of all owners",
        list[Running],
        _ADMIN,
        ("limit", "offset"),
        admin=True,
    ),
    routes.JOB_IDS: Operation("List the ids of all jobs", list[str], _ADMIN, ("limit", "offset"), admin=True),
    routes.INFO: Operation("Show everything recorded of a job", Info, (*_ADMIN, 404), ("jobId!",), admin=True),
    routes.LOGS: Operation(
        "Download or follow the log of a stage; a signature of the owner may replace the Admin header",
        "text/plain",
        (*_ADMIN, 403, 404),
        ("jobId!", "component", "follow", "since", "owner", "providerSignature", "nonce"),
        admin=True,
    ),
    routes.HISTORY: Operation(
        "List every step of a job, with its cause",
        list[Step],
        (*_ADMIN, 404),
        ("jobId!",),
        admin=True,
    ),
    routes.DEAD_LETTERS: Operation(
        "List events that could not be handled",
        list[dict[str, Any]],
        _ADMIN,
        ("limit",),
        admin=True,
    ),
    routes.UPGRADE: Operation(
        "Upgrade the database to the newest schema",
        "text/html",
        (400, 401, 501, 503),
        admin=True,
    ),
    routes.INDEX: Operation("Describe the service", Service),
    routes.HEALTH: Operation("Tell whether requests are served", Health),
}

_CHECKED = (*_ADMIN, 403)

REVIEW: Mapping[Route, Operation] = {
    review.HELD: Operation(
        "List results that wait for a decision, and events that could not be delivered",
        dict[str, Any],
        _CHECKED,
        admin=True,
    ),
    review.HELD_JOB: Operation(
        "Show the held files of a job, what the checks found, and what to sign",
        dict[str, Any],
        (*_CHECKED, 404),
        in_path=("job",),
        admin=True,
    ),
    review.HELD_FILE: Operation(
        "Download one held file, as a checker",
        "application/octet-stream",
        (*_CHECKED, 404, 410, 502),
        ("jobId!", "index!"),
    ),
    review.FREEZES: Operation("List what is frozen", list[dict[str, Any]], _CHECKED, admin=True),
    review.DECIDE: Operation(
        "Decide about held results, signed by a checker", dict[str, Any], (*_CHECKED, 404, 409), body=Decide
    ),
    review.RELEASE: Operation(
        "Try a decided release again", dict[str, Any], (*_CHECKED, 404, 409), body=OfJob, admin=True
    ),
    review.REVOKE: Operation(
        "Take back what was published or released", dict[str, Any], (*_CHECKED, 404, 409), body=OfJob, admin=True
    ),
    review.FREEZE: Operation(
        "Publish, release and download nothing of a scope", dict[str, Any], _CHECKED, body=OfScope, admin=True
    ),
    review.UNFREEZE: Operation("Lift a freeze", dict[str, Any], (*_CHECKED, 404), body=OfScope, admin=True),
}
DESCRIBED = {**{route: OPERATIONS[route] for route in routes.TABLE}, **REVIEW}

_TEXT_SCHEMA = {"type": "string"}
_PARAMETERS: Mapping[str, dict[str, Any]] = {
    "agreementId": {"type": "string"},
    "jobId": {"type": "string"},
    "owner": {"type": "string", "description": "An Ethereum address"},
    "chainId": {"type": "string", "description": "Also as `chain_id`"},
    "limit": {"type": "integer", "minimum": 0, "maximum": 10**9, "description": "Values above 1000 count as 1000"},
    "offset": {"type": "integer", "minimum": 0, "maximum": 10**9},
    "index": {"type": "integer", "description": "Position in the job's `results`, from 0"},
    "component": {"type": "string", "enum": [stage.value for stage in Stage]},
    "follow": {"type": "integer", "enum": [0, 1], "description": "1: send the log while it grows"},
    "since": {"type": "string", "pattern": "^([0-9]{1,4}:)?[0-9]{1,15}$", "description": "Needs `follow=1`"},
    "providerSignature": {"type": "string", "description": "Over `owner[jobId]nonce`, 65 bytes in hex"},
    "nonce": {"type": "string", "description": "The time, in seconds, milliseconds or nanoseconds since 1970"},
}


def document() -> dict[str, Any]:
    """Build the document."""
    kinds = [Error, *(kind for operation in DESCRIBED.values() for kind in operation.types)]
    schemas, components = msgspec.json.schema_components(kinds, ref_template="#/components/schemas/{name}")
    schema_of = {repr(kind): schema for kind, schema in zip(kinds, schemas, strict=True)}
    paths: dict[str, dict[str, Any]] = {}
    for route, operation in DESCRIBED.items():
        path = route.path.replace("<", "{").replace(">", "}")
        paths.setdefault(path, {})[route.method.lower()] = _operation(operation, schema_of)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Sluice",
            "version": version("sluice-c2d"),
            "description": "Ocean's operator-service API. All parameters are in the query, or all in a JSON body.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {"admin": {"type": "apiKey", "in": "header", "name": "Admin"}},
        },
    }


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
        **{str(code): {"description": _ERRORS[code], "content": error} for code in sorted(operation.errors)},
    }
