"""Describes the routes of operator-service's API and of the review API for the OpenAPI document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from functions.api.http import Route
from functions.api.ocean import routes
from functions.api.ocean.answers import Running, Status
from functions.api.review import routes as review
from functions.status.route_description import Operation
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


_BODY = (408, 413, 415)  # every route reads a JSON body if there is no query
_SIGNED = (400, 401, 503, *_BODY)
_ADMIN = (400, 401, 503, *_BODY)
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
    routes.METRICS: Operation(
        "Send metrics in Prometheus' text format; the value of the Admin header may be a bearer token",
        "text/plain",
        (400, 401, 403, 503, *_BODY),
        admin=True,
    ),
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
PARAMETERS: Mapping[str, dict[str, Any]] = {
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
