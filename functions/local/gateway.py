"""The gateway: what an HTTPRoute says, on a port of loopback. Streams in both directions."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from werkzeug.wrappers import Request, Response

from functions.local.knative_manifests import ManifestError

if TYPE_CHECKING:
    from urllib3 import PoolManager

_CHUNK = 1 << 16
# Of one connection only (RFC 9110, 7.6.1); the server on each side makes its own.
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
# What our own server says of itself with every answer.
_OURS = frozenset({"server", "date"})


@dataclass(frozen=True)
class Match:
    """One match of a rule."""

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
        """What the Gateway API prefers: exact, then longest, then with a method."""
        return self.exact, len(self.path), self.method is not None


def matches(routes: Sequence[Mapping[str, Any]]) -> list[Match]:
    """The matches of all rules of HTTPRoutes, the preferred first. Raises ManifestError."""
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
    """The name of the function that answers; None: nobody."""
    return next((match.backend for match in table if match.matches(method, path)), None)


class Gateway:
    """A WSGI app that hands each request to the function that its route names."""

    def __init__(self, table: Sequence[Match], addresses: Mapping[str, str], http: PoolManager) -> None:
        self._table = table
        self._addresses = addresses
        self._http = http

    def __call__(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        return self._answer(Request(environ))(environ, start_response)

    def _answer(self, request: Request) -> Response:
        name = backend(self._table, request.method, request.path)
        if name is None:
            return _error(404, "Not Found: no such path")
        from urllib3.exceptions import HTTPError

        # As it came: decoding and encoding it again would change what is signed or matched.
        target = request.environ.get("REQUEST_URI") or request.full_path
        try:
            answer = self._http.request(
                request.method,
                self._addresses[name] + target,
                body=request.stream if request.content_length != 0 else None,
                headers=_end_to_end(request.headers),
                preload_content=False,
                decode_content=False,
                redirect=False,
                retries=False,
            )
        except HTTPError:
            return _error(502, "the function does not answer; try again")
        response = Response(answer.stream(_CHUNK, decode_content=False), answer.status, direct_passthrough=True)
        response.headers.clear()
        response.headers.extend(_end_to_end(answer.headers.items(), _OURS))
        response.call_on_close(answer.release_conn)
        return response


def _error(status: int, message: str) -> Response:
    return Response(json.dumps({"error": message}), status, mimetype="application/json")


def _end_to_end(headers: Iterable[tuple[str, str]], without: frozenset[str] = frozenset()) -> dict[str, str]:
    return {name: value for name, value in headers if name.lower() not in _HOP_BY_HOP | without}


def _exact(kind: str) -> bool:
    if kind not in ("Exact", "PathPrefix"):
        raise ManifestError(f"HTTPRoute: the path type {kind} is not supported on a laptop")
    return kind == "Exact"
