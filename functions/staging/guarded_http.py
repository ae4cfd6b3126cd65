"""HTTP requests that connect only to addresses that were checked, also after a redirect.

Each hop resolves the name once, checks the addresses, and connects to one of them. TLS and the Host header keep the
name. A name that resolves to another address a moment later (DNS rebinding) therefore has no effect.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from functions.results.ports import StorageRefused, StorageUnavailable
from functions.staging.content_encoding import CHUNK, decoded, encoding_of
from functions.staging.report import StageFailure
from functions.staging.retry import RetryPolicy, TransientError
from functions.untrusted import HttpUrl, Malformed, UnknownScheme, parse_location, parse_url, retry_after
from functions.workflow.stage_options import FetchOptions

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from urllib3.response import BaseHTTPResponse

    from functions.staging.addresses import Lookup

MAX_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_SCHEMES = {"http", "https"}
_RETRIED_STATUSES = (408, 425, 429)
_PRIVATE_HEADERS = frozenset({"authorization", "cookie", "proxy-authorization"})
_EXPLANATION = 2048  # bytes of an error's body that are read


class HttpStatusError(StageFailure):
    """The server answered with an error status. `body` is the beginning of its text, and is never shown."""

    def __init__(self, status: int, body: str) -> None:
        super().__init__("DataUnavailable", f"the server answers {status}")
        self.status = status
        self.body = body


class Answer:
    """The final answer to a request. Raises StageFailure if its body is encoded in an unsupported way."""

    def __init__(self, response: BaseHTTPResponse) -> None:
        self._response = response
        self.status = response.status
        self.headers: Mapping[str, str] = response.headers
        self.encoding = encoding_of(self.headers.get("content-encoding"))
        transfer = self.headers.get("transfer-encoding", "").strip().lower()
        if transfer not in ("", "identity", "chunked"):
            raise StageFailure("DataUnavailable", "the server uses a Transfer-Encoding other than chunked")
        self.chunked = transfer == "chunked"

    def chunks(self) -> Iterator[bytes]:
        """Yield the decoded body as it arrives, so that the bytes before a broken connection are kept."""
        return decoded(self._raw(), self.encoding) if self.encoding else self._raw()

    def _raw(self) -> Iterator[bytes]:
        while data := self._response.read1(CHUNK, decode_content=False):
            yield data


class _Request(NamedTuple):
    method: str
    headers: Mapping[str, str]
    body: bytes | Iterable[bytes] | None
    trusted: bool


class GuardedHttp:
    """Sends requests under the rules of an environment.

    Proxy variables are ignored, because a proxy would choose the address. `time_left` returns the seconds until the
    stage must end, and raises when they are over.
    """

    def __init__(
        self,
        schemes: frozenset[str],
        *,
        private: bool = False,
        retries: RetryPolicy | None = None,
        time_left: Callable[[], float] = lambda: math.inf,
        lookup: Lookup | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._schemes = schemes & _SCHEMES
        self._private = private
        self._retries = retries or RetryPolicy()
        self._time_left = time_left
        self._lookup = lookup
        self._tls = tls

    @classmethod
    def for_options(
        cls, options: FetchOptions, retries: RetryPolicy, time_left: Callable[[], float] = lambda: math.inf
    ) -> GuardedHttp:
        """Return a client that fetches only what `options` allow."""
        private = options.allow_private_addresses
        return cls(frozenset(options.schemes), private=private, retries=retries, time_left=time_left)

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        *,
        trusted: bool = False,
    ) -> Iterator[Answer]:
        """Send a request, follow redirects, and yield the final answer.

        A `trusted` URL may have any scheme and a private address. Only URLs that Sluice builds from the operator's
        settings are trusted: never one from a document, and never the target of a redirect.
        Raises StageFailure if a retry cannot help (4xx, a forbidden address, a bad certificate), else TransientError.
        """
        from urllib3.exceptions import HTTPError

        from functions.staging.http_transport import as_failure

        response = None
        try:
            request = _Request(method, dict(headers or {}), body, trusted)
            response = self._follow(_parsed(url), request)
            _check_status(response)
            yield Answer(response)
        except HTTPError as e:
            raise as_failure(e) from None
        finally:
            if response is not None:
                response.close()

    def put(self, url: str, chunks: Iterable[bytes], size: int, content_type: str) -> None:
        """Send a body of `size` bytes with PUT. Follows no redirect, because the body can be sent only once.

        Raises StorageRefused if a retry cannot help, else StorageUnavailable.
        """
        from urllib3.exceptions import HTTPError

        headers = {"Content-Length": str(size), "Content-Type": content_type}
        try:
            response = self._send(parsed := _parsed(url), _Request("PUT", headers, chunks, False))
        except StageFailure as e:
            raise StorageRefused(e.text) from None
        except (HTTPError, TransientError) as e:
            raise StorageUnavailable(f"the server does not take the file ({type(e).__name__})") from None
        response.close()
        status = response.status
        if status >= 500 or status in _RETRIED_STATUSES:
            raise StorageUnavailable(f"the server answers {status}")
        if status not in (200, 201, 204):
            raise StorageRefused(f"{parsed.host} answers {status}")

    def read(
        self, method: str, url: str, body: bytes | None = None, *, limit: int = 4 << 20, trusted: bool = False
    ) -> bytes:
        """Return a small answer as a whole. Raises as `request`, and StageFailure if it has over `limit` bytes."""
        headers = {"Accept": "application/json"} | ({"Content-Type": "application/json"} if body else {})
        data = bytearray()
        with self.request(method, url, headers, body, trusted=trusted) as answer:
            for piece in answer.chunks():
                data += piece
                if len(data) > limit:
                    raise StageFailure("DataTooLarge", f"the answer has more than {limit} bytes")
        return bytes(data)

    def _follow(self, url: HttpUrl, request: _Request) -> BaseHTTPResponse:
        if url.authorization:
            request = request._replace(headers={**request.headers, "Authorization": url.authorization})
        for _ in range(MAX_REDIRECTS + 1):
            response = self._send(url, request)
            location = response.headers.get("location")
            if response.status not in _REDIRECTS or not location:
                return response
            response.close()
            target = _parsed_location(url, location)
            request = _redirected(request, response.status, url, target)
            url = target
        raise StageFailure("DataUnavailable", f"more than {MAX_REDIRECTS} redirects")

    def _send(self, url: HttpUrl, request: _Request) -> BaseHTTPResponse:
        from urllib3.exceptions import HTTPError

        from functions.staging.addresses import resolve
        from functions.staging.http_transport import is_unreachable

        if not request.trusted and url.scheme not in self._schemes:
            raise StageFailure("DataForbidden", f"this environment does not fetch {url.scheme}: URLs")
        private = self._private or request.trusted
        addresses = resolve(url.host, url.port, private=private, lookup=self._lookup)
        for address in addresses[:-1]:
            try:
                return self._connect(address, url, request)
            except HTTPError as e:
                if not is_unreachable(e):
                    raise
        return self._connect(addresses[-1], url, request)

    def _connect(self, address: str, url: HttpUrl, request: _Request) -> BaseHTTPResponse:
        from functions.staging import http_transport

        headers = {"Accept-Encoding": "identity", "User-Agent": "sluice", **request.headers, "Host": url.host_header}
        return http_transport.send(
            address,
            request.method,
            url,
            headers,
            request.body,
            connect=self._retries.connect,
            stall=self._retries.stall,
            time_left=self._time_left,
            tls=self._tls,
        )


def _redirected(request: _Request, status: int, url: HttpUrl, target: HttpUrl) -> _Request:
    """Return the request that follows a redirect. It is never trusted. Raises StageFailure."""
    method, headers, body = request.method, request.headers, request.body
    if target.origin != url.origin:
        headers = {k: v for k, v in headers.items() if k.lower() not in _PRIVATE_HEADERS}
    if status == 303 or (method == "POST" and status in (301, 302)):
        method, body = "GET", None
    if method == "POST" and target.host != url.host:
        # Anybody could otherwise have this program POST to a server that only this program can reach.
        raise StageFailure("DataForbidden", "the server redirects a POST to another host")
    return _Request(method, headers, body, trusted=False)


def _parsed(url: str) -> HttpUrl:
    try:
        return parse_url(url)
    except UnknownScheme as e:
        raise StageFailure("DataForbidden", str(e)) from None
    except Malformed as e:
        raise StageFailure("DataUnavailable", str(e)) from None


def _parsed_location(url: HttpUrl, location: str) -> HttpUrl:
    try:
        return parse_location(url, location)
    except UnknownScheme:
        raise StageFailure("DataForbidden", "the server redirects to a URL that is not http: or https:") from None
    except Malformed:
        raise StageFailure("DataUnavailable", "the server redirects to a malformed URL") from None


def _check_status(response: BaseHTTPResponse) -> None:
    status = response.status
    if status >= 500 or status in _RETRIED_STATUSES:
        after = retry_after(response.headers.get("retry-after"), datetime.now(UTC))
        raise TransientError(f"the server answers {status}", after)
    if status not in (200, 206):
        raise HttpStatusError(status, response.read(_EXPLANATION, decode_content=False).decode(errors="replace"))
