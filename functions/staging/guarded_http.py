"""HTTP requests that connect only to addresses that were checked, also after a redirect.

Each hop resolves the name once, checks the addresses, and connects to one of them. TLS and the Host header keep the
name. A name that resolves to another address a moment later (DNS rebinding) therefore has no effect.
"""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from time import time
from typing import TYPE_CHECKING
from urllib.parse import SplitResult, quote, unquote, urljoin, urlsplit

from functions.staging.addresses import Lookup, resolve
from functions.staging.report import StageFailure
from functions.staging.retry import RetryPolicy, TransientError
from functions.workflow.environment import FetchPolicy

if TYPE_CHECKING:
    import ssl

    from urllib3.response import BaseHTTPResponse

MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_PORTS = {"http": 80, "https": 443}
_WORTH_RETRYING = (408, 425, 429)
_PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_EXPLANATION = 2048  # bytes of an error's body that are read
_SAFE = "/%:@!$&'()*+,;=~-._?[]"


class HttpStatusError(StageFailure):
    """The server answered with an error status. `body` is the beginning of its text, and is never shown."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__("DataUnavailable", f"the server answers {status}")
        self.status = status
        self.body = body


@dataclass(frozen=True)
class Target:
    """A URL that was parsed once, so that every later step reads it the same way."""

    scheme: str
    host: str
    port: int
    path: str  # with query
    authorization: str | None

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"


class GuardedHttp:
    """Sends requests under the rules of an environment. `trusted`: the operator's own URLs, which need not obey them.

    Proxy variables are ignored, because a proxy would choose the address.
    """

    def __init__(
        self,
        schemes: frozenset[str],
        *,
        private: bool = False,
        trusted: tuple[str, ...] = (),
        retries: RetryPolicy | None = None,
        lookup: Lookup = socket.getaddrinfo,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._schemes = schemes & set(_PORTS)
        self._private = private
        self._trusted = frozenset(parse_url(url).origin for url in trusted)
        self._retries = retries or RetryPolicy()
        self._lookup = lookup
        self._tls = tls

    @classmethod
    def for_policy(cls, policy: FetchPolicy, retries: RetryPolicy) -> GuardedHttp:
        """The operator's gateways may have private addresses. Other hosts may not, unless the policy allows it."""
        gateways = (policy.ipfs_gateway, policy.arweave_gateway)
        private = policy.allow_private_addresses
        return cls(frozenset(policy.schemes), private=private, trusted=gateways, retries=retries)

    @contextmanager
    def request(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Iterator[BaseHTTPResponse]:
        """Send a request, follow redirects, and yield the final answer. Its body is not decoded.

        Raises StageFailure if a retry cannot help (4xx, a forbidden address, a bad certificate), else TransientError.
        """
        from urllib3.exceptions import HTTPError, NewConnectionError, SSLError

        response = None
        try:
            response = self._follow(method, parse_url(url), dict(headers or {}), body)
            _check_status(response)
            yield response
        except SSLError as e:
            if "CERTIFICATE_VERIFY_FAILED" in str(e):
                raise StageFailure(
                    "DataUnavailable", "the server's TLS certificate is not valid for its name"
                ) from None
            raise TransientError("the TLS connection broke") from None
        except HTTPError as e:
            raise TransientError(_describe(e), absent=isinstance(e, NewConnectionError)) from None
        finally:
            if response is not None:
                response.close()

    def read(self, method: str, url: str, body: bytes | None = None, *, limit: int = 4 << 20) -> bytes:
        """Return a small answer as a whole. Raises as `request`, and StageFailure if it has over `limit` bytes."""
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body else {})
        with self.request(method, url, headers, body) as response:
            data = b""
            while piece := response.read(limit + 1 - len(data), decode_content=False):
                data += piece
                if len(data) > limit:
                    raise StageFailure("DataTooLarge", f"the answer has more than {limit} bytes")
            return data

    def _follow(self, method: str, target: Target, headers: dict[str, str], body: bytes | None) -> BaseHTTPResponse:
        if target.authorization:
            headers["Authorization"] = target.authorization
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(method, target, headers, body)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.close()
            following = parse_url(urljoin(_url(target), location))
            if following.origin != target.origin:
                headers = {k: v for k, v in headers.items() if k.lower() not in _PRIVATE_HEADERS}
            if response.status == 303 or (method == "POST" and response.status in (301, 302)):
                method, body = "GET", None
            target = following
        raise StageFailure("DataUnavailable", f"more than {MAX_REDIRECTS} redirects")

    def _send(self, method: str, target: Target, headers: dict[str, str], body: bytes | None) -> BaseHTTPResponse:
        from urllib3.exceptions import ConnectTimeoutError, NewConnectionError

        trusted = target.origin in self._trusted
        if not trusted and target.scheme not in self._schemes:
            raise StageFailure("DataForbidden", f"this environment does not fetch {target.scheme}: URLs")
        addresses = resolve(target.host, target.port, private=self._private or trusted, lookup=self._lookup)
        full = {"Accept-Encoding": "identity", "User-Agent": "sluice", **headers, "Host": target.host_header}
        for address in addresses[:-1]:
            try:
                return self._connect(address, method, target, full, body)
            except (ConnectTimeoutError, NewConnectionError):
                continue
        return self._connect(addresses[-1], method, target, full, body)

    def _connect(
        self, address: str, method: str, target: Target, headers: dict[str, str], body: bytes | None
    ) -> BaseHTTPResponse:
        import urllib3

        timeout = urllib3.Timeout(connect=self._retries.connect, read=self._retries.stall)
        pool: urllib3.HTTPConnectionPool
        if target.scheme == "https":
            if self._tls is None:
                import ssl

                self._tls = ssl.create_default_context()
            pool = urllib3.HTTPSConnectionPool(
                address, target.port, timeout=timeout, ssl_context=self._tls, server_hostname=target.host
            )
        else:
            pool = urllib3.HTTPConnectionPool(address, target.port, timeout=timeout)
        return pool.urlopen(
            method,
            target.path,
            body,
            headers,
            retries=False,
            redirect=False,
            assert_same_host=False,
            preload_content=False,
            decode_content=False,
        )


def parse_url(url: str) -> Target:
    """Parse a URL. Raises StageFailure."""
    try:
        parts = urlsplit(url)
        host = (
            (parts.hostname or "").encode("idna").decode() if not (parts.hostname or "").isascii() else parts.hostname
        )
        port = parts.port
    except (ValueError, UnicodeError):
        raise StageFailure("DataUnavailable", "the URL is malformed") from None
    if parts.scheme not in _PORTS:
        raise StageFailure("DataForbidden", f"{parts.scheme or 'empty'}: URLs are never fetched")
    if not host or "%" in host or any(c <= " " or c == "\x7f" for c in host):
        raise StageFailure("DataForbidden", "the URL has no valid host name")
    path = quote(parts.path or "/", safe=_SAFE) + (f"?{quote(parts.query, safe=_SAFE)}" if parts.query else "")
    return Target(parts.scheme, host, port or _PORTS[parts.scheme], path, _basic(parts))


def retry_after(value: str | None) -> float | None:
    """Return the seconds of a Retry-After header, in either of its forms; None if it is missing or invalid."""
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time())
    except ValueError:
        return None


def _check_status(response: BaseHTTPResponse) -> None:
    status = response.status
    if status >= 500 or status in _WORTH_RETRYING:
        raise TransientError(f"the server answers {status}", retry_after(response.headers.get("retry-after")))
    if status not in (200, 206):
        raise HttpStatusError(status, response.read(_EXPLANATION, decode_content=False).decode(errors="replace"))
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", ""):
        raise StageFailure(
            "DataUnavailable", f"the server sends the encoding {encoding[:40]!r}, which was not requested"
        )


def _basic(parts: SplitResult) -> str | None:
    if parts.username is None:
        return None
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(pair.encode()).decode()


def _url(target: Target) -> str:
    return f"{target.scheme}://{target.host_header}{target.path}"


def _describe(error: Exception) -> str:
    from urllib3 import exceptions as known

    match error:
        case known.ConnectTimeoutError() | known.NewConnectionError():
            return "the server cannot be reached"
        case known.TimeoutError():
            return "the server stalls"
        case _:
            return "the connection broke"
