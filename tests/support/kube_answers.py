"""The answers of the small Kubernetes API of `kube_objects`, and the faults that a call may get instead."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

Object = dict[str, Any]
TOKEN = "not-a-secret"
REASONS = {
    400: "BadRequest",
    401: "Unauthorized",
    403: "Forbidden",
    404: "NotFound",
    409: "Conflict",
    413: "RequestEntityTooLarge",
    422: "Invalid",
    429: "TooManyRequests",
    500: "InternalError",
    503: "ServiceUnavailable",
    504: "Timeout",
}
VERBS = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}


@dataclass
class Fault:
    """What one call gets instead of its answer. `after`: the call is carried out all the same."""

    status: int = 500  # 0: the connection is cut; -1: no answer until `FakeKube.close`
    message: str = "fault"
    headers: dict[str, str] = field(default_factory=dict)
    after: bool = False


# The answer to a create when another one has changed the namespace's quota at the same moment.
QUOTA_CONFLICT = Fault(
    409,
    'Operation cannot be fulfilled on resourcequotas "environment": the object has been modified; '
    "please apply your changes to the latest version and try again",
)


@dataclass
class Answer:
    """A response: its status (see Fault), headers and body."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


def ok(body: Object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(body).encode())


def not_found(plural: str, name: str) -> Answer:
    return status_answer(404, f'{plural} "{name}" not found')


def failed(fault: Fault) -> Answer:
    return (
        status_answer(fault.status, fault.message, headers=fault.headers) if fault.status > 0 else Answer(fault.status)
    )


def status_answer(code: int, message: str, reason: str = "", headers: Mapping[str, str] | None = None) -> Answer:
    """A Status object, with the reason that Kubernetes gives for the code."""
    body = {
        "kind": "Status",
        "apiVersion": "v1",
        "status": "Failure",
        "message": message,
        "reason": reason or REASONS[code],
        "code": code,
    }
    return Answer(code, json.dumps(body).encode(), headers or {})


def group_of(path: str) -> str:
    """The API group; empty for /api, whose group has no name."""
    return path.split("/")[2] if path.startswith("/apis/") else ""


def target_of(path: str) -> tuple[str, str, str, str]:
    """Namespace, plural, name and subresource of a path."""
    rest: Iterator[str] = iter(path.partition("/namespaces/")[2].split("/"))
    return next(rest), next(rest), next(rest, ""), next(rest, "")
