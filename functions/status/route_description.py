"""What the OpenAPI document says about a route."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NotRequired, TypedDict

from msgspec import Struct


class Error(TypedDict):
    """The answer to every failed request. `id` identifies an internal error in the log."""

    error: str
    id: NotRequired[str]


ERRORS = {
    400: "The request is invalid, or it is a replay.",
    401: "The signer, the token or the admin is not authorised.",
    403: "The policy, or its checkers, do not allow it.",
    404: "No such job, task, log or result.",
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


class Operation(Struct, frozen=True):
    """The description of a route. `answer` is a type, or a media type if the answer is not JSON."""

    summary: str
    answer: Any
    errors: tuple[int, ...] = ()
    parameters: tuple[str, ...] = ()
    body: Any = None
    admin: bool = False
    token: bool = False  # of a principal
    headers: tuple[str, ...] = ()
    also: tuple[int, ...] = ()  # other successes
    in_path: tuple[str, ...] = ()

    @property
    def types(self) -> Iterable[Any]:
        return [kind for kind in (self.answer, self.body) if kind is not None and not isinstance(kind, str)]
