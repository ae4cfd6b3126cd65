"""The gateway: serves the HTTPRoutes on one port of loopback. It streams answers, and reads a request's body whole."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct
from werkzeug.wrappers import Request, Response

from functions.api.http import HttpError, read_body
from functions.local.knative_manifests import ManifestError

if TYPE_CHECKING:
    from urllib3 import PoolManager

_CHUNK = 1 << 16
# These headers apply to one connection only (RFC 9110, 7.6.1).
_HOP_BY_HOP = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-connection",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
# The body has arrived when it is forwarded, and has its own length then.
_OF_THE_BODY = frozenset({"content-length", "expect"})
# Our own server adds these to every response.
_ADDED_BY_SERVER = frozenset({"server", "date"})


class Match(Struct, frozen=True):
    """One `match` of an HTTPRoute's rule."""

    exact: bool
    path: str
    method: str | None
    backend: str

    def matches(self, method: str, path: str) -> bool:
        if self.method not in (None, method):
            return False
        if self.exact:
            return path == self.path
        return self.path == "/" or path == self.path or path.startswith(self.path.rstrip("/") + "/")

    @property
    def rank(self) -> tuple[bool, int, bool]:
        """Precedence in the Gateway API: exact before prefix, longer before shorter, with a method before without."""
        return self.exact, len(self.path), self.method is not None


def matches(routes: Sequence[Mapping[str, Any]]) -> list[Match]:
    """List the matches of all rules, in order of precedence. Raises ManifestError."""
    found = [
        Match(
            _exact(match["path"]["type"]), match["path"]["value"], match.get("method"), rule["backendRefs"][0]["name"]
        )
        for route in routes
        for rule in route["spec"]["rules"]
        for match in rule["matches"]
    ]
    return sorted(found, key=lambda match: match.rank, reverse=True)


def backend(table: Sequence[Match], method: str, path: str) -> str | None:
    """The name of the function that serves this request; None if no rule matches."""
    return next((match.backend for match in table if match.matches(method, path)), None)


class Gateway:
    """A WSGI app that forwards each request to the function that its route names.

    `max_body`: bytes of a request's body. `seconds`: how long a client may pause while it sends one.
    """

    def __init__(
        self, table: Sequence[Match], addresses: Mapping[str, str], http: PoolManager, max_body: int, seconds: float
    ) -> None:
        self._table = table
        self._addresses = addresses
        self._http = http
        self._max_body = max_body
        self._seconds = seconds

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        name = backend(self._table, request.method, request.path)
        if name is None:
            return _error(404, "Not Found: no route has this method and path")
        from urllib3.exceptions import HTTPError

        try:
            target, body = _target(request), read_body(request, self._max_body, self._seconds)
        except HttpError as e:
            return _error(e.status, e.message)
        try:
            answer = self._http.request(
                request.method,
                self._addresses[name] + target,
                body=body or None,
                headers=_end_to_end(request.headers, _OF_THE_BODY),
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
            )
        except HTTPError:
            return _error(502, "the function does not answer; try again in a few seconds")
        response = Response(answer.stream(_CHUNK, decode_content=False), answer.status)
        response.headers.clear()
        response.headers.extend(_end_to_end(answer.headers.items(), _ADDED_BY_SERVER))
        # If the client leaves early, the rest of the answer must not reach the next request of the connection.
        response.call_on_close(answer.close)
        return response


def _target(request: Request) -> str:
    """Return the path and the query as the client sent them. Raises HttpError 400.

    Decoding and encoding them again could change what is signed or matched.
    """
    target: str = request.environ.get("REQUEST_URI") or request.full_path
    if not target.startswith("/"):  # a whole URL is allowed too (RFC 9112, 3.2.2)
        target = urlsplit(target)._replace(scheme="", netloc="").geturl()
    if not target.startswith("/"):
        raise HttpError(400, "the request's target must be a path that begins with /, or a URL")
    return target


def _error(status: int, message: str) -> Response:
    return Response(json.dumps({"error": message}), status, mimetype="application/json")


def _end_to_end(headers: Iterable[tuple[str, str]], without: frozenset[str] = frozenset()) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in _HOP_BY_HOP | without}


def _exact(kind: str) -> bool:
    if kind not in ("Exact", "PathPrefix"):
        raise ManifestError(f"HTTPRoute: the path type {kind} is not supported on a laptop; use Exact or PathPrefix")
    return kind == "Exact"
