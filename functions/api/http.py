"""Requests, routing and answers over HTTP, shared by the three functions.

Every cold start imports this module, so anything that only some requests need is imported where it is used.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from io import BytesIO
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import uuid4

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect, Rule
from werkzeug.wrappers import Request, Response

from functions import log
from functions.errors import Unavailable
from functions.settings import SettingsError

if TYPE_CHECKING:
    from functions.engine.app import App

logger = logging.getLogger(__name__)

_CHUNK = 1 << 16


class HttpError(Exception):
    """A failed request. The caller sees `message`: no secret, internal host or stack trace belongs there."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


@dataclass(frozen=True)
class Call:
    """One request, the values captured from its path, and the application."""

    request: Request
    app: App
    captured: Mapping[str, str]

    @cached_property
    def body(self) -> bytes:
        """The whole body. Raises HttpError 413 if it is too large."""
        return read_body(self.request, self.app.settings.max_body)

    @cached_property
    def params(self) -> Mapping[str, Any]:
        """The query if it has any argument, otherwise the JSON body, for every method; never both."""
        if self.request.args:
            return _without_nul(self.request.args.to_dict())
        if not self.body:
            return {}
        if not self.request.is_json:
            raise HttpError(415, "Unsupported Media Type: send JSON with Content-Type: application/json, or a query")
        params = decode(self.body)
        if not isinstance(params, dict):
            raise HttpError(400, "payload seems empty.")  # as operator-service answers when it is no object
        return _without_nul(params)


Handler = Callable[[Call], Response]


class Router:
    """A function's routes: werkzeug rules whose endpoints are handlers."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules = tuple(rules)
        self._map = Map(rules, merge_slashes=False)

    def answer(self, request: Request, app: Callable[[], App]) -> Response:
        """Call the handler of the request's route. Every failure becomes a JSON error with a fitting status."""
        try:
            response = self._dispatch(request, app)
        except RequestRedirect as redirect:
            response = Response(status=redirect.code, headers={"Location": redirect.new_url})
        except Exception as error:
            response = _failure(error)
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _dispatch(self, request: Request, app: Callable[[], App]) -> Response:
        adapter = self._map.bind_to_environ(request.environ)
        try:
            handler, captured = adapter.match()
        except MethodNotAllowed:
            allowed = sorted({*adapter.allowed_methods(), "OPTIONS"})
            if request.method == "OPTIONS":
                return _preflight(allowed)
            raise HttpError(
                405, f"Method {request.method} is not allowed here", {"Allow": ", ".join(allowed)}
            ) from None
        except NotFound:
            raise HttpError(404, "Not Found: no such path") from None
        response: Response = handler(Call(request, app(), captured))
        return response


class Route(NamedTuple):
    """One method of one path, and the function that serves it: an entry of a routing table."""

    function: Literal["submit", "status"]
    method: str
    path: str

    def to(self, handler: Handler) -> Rule:
        """Bind the handler to the route."""
        return Rule(self.path, endpoint=handler, methods=[self.method])


# --- answers --------------------------------------------------------------------------------


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON in operator-service's form: json.dumps' separators, insertion order, floats as strings."""
    text = json.dumps(_floats_as_strings(value))
    return Response(text, status, {"Content-type": "application/json", **(headers or {})})


def empty(status: int = 204) -> Response:
    """Answer without a body. To a Knative broker, a body that is not a CloudEvent is a failure."""
    return Response(status=status)


def healthz(call: Call) -> Response:
    """Answer that the process serves requests. A database outage must not restart it, so it is not checked."""
    return answer({"status": "ok"})


def _floats_as_strings(value: Any) -> Any:
    if isinstance(value, float | Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _floats_as_strings(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_floats_as_strings(item) for item in value]
    return value


def _preflight(allowed: Sequence[str]) -> Response:
    return Response(
        status=200,
        headers={
            "Allow": ", ".join(allowed),
            # One path may belong to two functions, and the gateway asks only one of them.
            "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
            "Access-Control-Allow-Headers": "Content-Type, Range, Admin, Idempotency-Key",
        },
    )


def _failure(error: Exception) -> Response:
    if isinstance(error, HttpError):
        return answer({"error": error.message}, error.status, error.headers)
    if isinstance(error, HTTPException):
        return answer({"error": error.name}, error.code or 500)
    if isinstance(error, Unavailable):
        logger.warning("unavailable: %s", error, exc_info=error)
        return answer(
            {"error": "a part of the service is unavailable; try again"},
            503,
            {"Retry-After": str(max(1, round(error.retry_after)))},
        )
    if isinstance(error, SettingsError):
        logger.error("settings: %s", error)
        return answer({"error": "the service is configured wrongly; its log names the setting"}, 500)
    number = uuid4().hex
    logger.error("internal error", exc_info=error, extra=log.about(error_id=number))
    return answer({"error": "internal error", "id": number}, 500)


# --- bodies ---------------------------------------------------------------------------------


def read_body(request: Request, limit: int) -> bytes:
    """Return the body, chunked or not. Raises HttpError 413 above `limit` bytes.

    werkzeug's own limit silently truncates a chunked body, so it is not used.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(request, limit)
    body = bytearray()
    while chunk := request.stream.read(_CHUNK):
        body += chunk
        if len(body) > limit:
            raise _too_large(request, limit)
    # functions-framework reads the rest of the body after the answer. Leave it nothing to read.
    request.stream = BytesIO(body)
    return bytes(body)


def _too_large(request: Request, limit: int) -> HttpError:
    request.stream = BytesIO()
    return HttpError(413, f"the request body is larger than {limit} bytes")


def decode(body: bytes) -> Any:
    """Decode strict JSON, without NaN, numbers out of range and lone surrogates. Raises HttpError 400."""
    import msgspec

    try:
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise HttpError(400, f"the body is not valid JSON: {e}") from None
    except RecursionError:
        raise HttpError(400, "the JSON body is nested too deeply") from None


def _without_nul(params: dict[str, Any]) -> dict[str, Any]:
    """Return `params`. Raises HttpError 400 if a text contains NUL, which Postgres cannot store."""
    todo: list[Any] = [params]
    while todo:
        match todo.pop():
            case dict() as mapping:
                todo += [*mapping, *mapping.values()]
            case list() as items:
                todo += items
            case str() as text if "\0" in text:
                raise HttpError(400, "NUL characters are not accepted")
    return params
