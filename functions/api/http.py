"""Requests, routing and answers over HTTP, shared by the three functions.

Every cold start imports this module, so anything that only some requests need is imported where it is used.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from io import BytesIO
from threading import BoundedSemaphore, Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple
from uuid import uuid4

from werkzeug.exceptions import HTTPException, MethodNotAllowed, NotFound
from werkzeug.routing import Map, RequestRedirect, Rule
from werkzeug.wrappers import Request, Response

from functions import log
from functions.api.json_answers import answer
from functions.api.readiness import Readiness
from functions.api.watchdog import SLOWEST, WATCHDOG, Deadline
from functions.errors import Unavailable
from functions.variables import SettingsError

if TYPE_CHECKING:
    from functions.engine.app import App

logger = logging.getLogger(__name__)

_CHUNK = 1 << 16
HEALTHY = {"status": "ok"}
TURN = 30.0  # seconds that a request waits until it is handled


class HttpError(Exception):
    """A failed request. The caller sees `message`: no secret, internal host or stack trace belongs there."""

    def __init__(self, status: int, message: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.headers = dict(headers or {})


class Call:
    """One request, the values captured from its path, and the application."""

    def __init__(self, request: Request, app: App, captured: Mapping[str, str], body: bytes = b"") -> None:
        self.request = request
        self.app = app
        self.captured = captured
        self.body = body
        self._params: Mapping[str, Any] | None = None

    @property
    def params(self) -> Mapping[str, Any]:
        """The query if it has any argument, otherwise the JSON body, for every method; never both."""
        # Not a cached_property: before Python 3.12 one lock serves all requests.
        if self._params is None:
            self._params = without_nul(self.request.args.to_dict() if self.request.args else self._json())
        return self._params

    def _json(self) -> dict[str, Any]:
        if not self.body:
            return {}
        if not self.request.is_json:
            raise HttpError(415, "Unsupported Media Type: send JSON with Content-Type: application/json, or a query")
        params = decode(self.body)
        if not isinstance(params, dict):
            raise HttpError(400, "payload seems empty.")  # as operator-service answers when it is not an object
        return params


Handler = Callable[[Call], Response]


class Router:
    """A function's routes: werkzeug rules whose endpoints are handlers.

    At most THREADS requests are handled at once, each after its body has arrived. So a client that stalls delays no
    other, and the requests that are handled fit into memory.
    """

    def __init__(self, rules: Sequence[Rule], max_body: int | None = None) -> None:
        """`max_body`: bytes, instead of MAX_BODY_BYTES."""
        self.rules = tuple(rules)
        self._map = Map(rules, merge_slashes=False)
        self._max_body = max_body
        self._turns: BoundedSemaphore | None = None
        self._first = Lock()

    def answer(self, request: Request, app: Callable[[], App]) -> Response:
        """Call the handler of the request's route. Every failure becomes a JSON error with a fitting status."""
        try:
            response = self._dispatch(request, app)
        except RequestRedirect as redirect:
            response = Response(status=redirect.code, headers={"Location": redirect.new_url})
        except Exception as error:
            response = _failure(error)
        # functions-framework reads the rest of the body after the answer, without a limit. Leave it nothing to read.
        request.stream = BytesIO()
        response.headers["Access-Control-Allow-Origin"] = "*"
        response.headers["X-Content-Type-Options"] = "nosniff"
        return response

    def _dispatch(self, request: Request, app: Callable[[], App]) -> Response:
        adapter = self._map.bind_to_environ(request.environ)
        try:
            rule, captured = adapter.match(return_rule=True)
        except MethodNotAllowed:
            allowed = sorted({*adapter.allowed_methods(), "OPTIONS"})
            if request.method == "OPTIONS":
                return _preflight(allowed)
            raise HttpError(
                405, f"Method {request.method} is not allowed here", {"Allow": ", ".join(allowed)}
            ) from None
        except NotFound:
            raise HttpError(404, "Not Found: no such path") from None
        if rule.endpoint is healthz:
            return answer(HEALTHY)  # waits for nothing
        if isinstance(rule.endpoint, Readiness):
            return rule.endpoint.respond(app)
        parts = app()
        if parts.telemetry is None and "traceparent" not in request.headers:
            return self._handle(request, parts, rule, captured)
        from functions.api.request_trace import observed

        with observed(parts.telemetry, request, rule.rule) as outcome:
            try:
                response = self._handle(request, parts, rule, captured)
            except Exception as error:
                response = _failure(error)
            outcome.status = response.status_code
            return response

    def _handle(self, request: Request, app: App, rule: Rule, captured: Mapping[str, Any]) -> Response:
        settings = app.settings
        body = read_body(request, self._max_body or settings.max_body, settings.client_seconds)
        with self._turn(settings.pool_size):
            response: Response = rule.endpoint(Call(request, app, captured, body))
            return response

    @contextmanager
    def _turn(self, count: int) -> Iterator[None]:
        with self._first:
            turns = self._turns = self._turns or BoundedSemaphore(count)
        if not turns.acquire(timeout=TURN):
            raise Unavailable(f"a request waited {TURN:g} s for one of {count} threads")
        try:
            yield
        finally:
            turns.release()


class Route(NamedTuple):
    """One method of one path, and the function that serves it: an entry of a routing table."""

    function: Literal["submit", "status"]
    method: str
    path: str

    def to(self, handler: Handler) -> Rule:
        """Bind the handler to the route."""
        return Rule(self.path, endpoint=handler, methods=[self.method])


def later(module: str, name: str) -> Handler:
    """Return a handler whose module is imported at its first call, so that no cold start pays for it."""

    def handler(call: Call) -> Response:
        found: Handler = getattr(import_module(module), name)
        return found(call)

    return handler


# --- answers --------------------------------------------------------------------------------


def empty(status: int = 204) -> Response:
    """Answer without a body. To a Knative broker, a body that is not a CloudEvent is a failure."""
    return Response(status=status)


def healthz(call: Call) -> Response:
    """Answer that the process serves requests. A database outage must not restart it, so it is not checked."""
    return answer(HEALTHY)


def _preflight(allowed: Sequence[str]) -> Response:
    return Response(
        status=200,
        headers={
            "Allow": ", ".join(allowed),
            # One path may belong to two functions, and the gateway asks only one of them.
            "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
            "Access-Control-Allow-Headers": "Content-Type, Range, Admin, Authorization, Idempotency-Key",
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


def read_body(request: Request, limit: int, seconds: float) -> bytes:
    """Return the body, chunked or not.

    Raises HttpError 413 above `limit` bytes, 400 if the body is malformed or incomplete, and 408 if it takes longer
    than `seconds` and the time that it needs at the slowest accepted rate.
    """
    if (request.content_length or 0) > limit:
        raise _too_large(limit)
    sock = request.environ.get("gunicorn.socket") or request.environ.get("werkzeug.socket")
    if sock is None or not (request.content_length or "Transfer-Encoding" in request.headers):
        return _read(request, limit, None)
    with WATCHDOG.receiving(sock, seconds) as deadline:
        try:
            return _read(request, limit, deadline)
        except HttpError:
            if not deadline.expired:
                raise
            raise HttpError(408, "the request body did not arrive in time; send it again, faster") from None


def _read(request: Request, limit: int, deadline: Deadline | None) -> bytes:
    # werkzeug's own limit silently truncates a chunked body, so it is not used.
    body = bytearray()
    try:
        while chunk := request.stream.read(_CHUNK):
            body += chunk
            if len(body) > limit:
                raise _too_large(limit)
            if deadline is not None:
                deadline.at += len(chunk) / SLOWEST
    except HttpError:
        raise
    except Exception as error:  # each server has its own errors for a wrong chunk and for a connection that ended
        logger.info("a request body could not be read: %s", type(error).__name__)
        raise HttpError(400, "the request body is incomplete, or its chunks are malformed") from None
    if len(body) < (request.content_length or 0):
        raise HttpError(400, "the request body is shorter than its Content-Length")
    return bytes(body)


def _too_large(limit: int) -> HttpError:
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


def without_nul(value: Any) -> Any:
    """Return `value`. Raises HttpError 400 if a text in it contains NUL, which Postgres cannot store."""
    todo: list[Any] = [value]
    while todo:
        match todo.pop():
            case dict() as mapping:
                todo += [*mapping, *mapping.values()]
            case list() as items:
                todo += items
            case str() as text if "\0" in text:
                raise HttpError(400, "NUL characters are not accepted")
    return value
