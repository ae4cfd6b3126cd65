"""HTTP to the Kubernetes API: its verbs, and what its errors mean. Uses urllib3 alone."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from functions.backoff import Backoff
from functions.cluster.kubernetes.access import Access
from functions.cluster.kubernetes.objects import Body
from functions.cluster.ports import ClusterUnavailable, Rejected
from functions.log import about

if TYPE_CHECKING:
    import urllib3

logger = logging.getLogger(__name__)

CONNECT_SECONDS, READ_SECONDS = 3.0, 10.0
CONFLICT_TRIES = 4  # of a POST
CONFLICT_BACKOFF = Backoff(first=0.02, factor=2, longest=0.1)
LONGEST_RETRY_AFTER = 60.0  # seconds
_LONGEST_MESSAGE = 300  # characters of the API's message that we keep
_LONGEST_ERROR = 1 << 16  # bytes of a Status object
_WRITES = ("POST", "PATCH")  # calls that carry an object, which the API may refuse


class AlreadyExists(Exception):
    """A POST was refused because an object of this name exists. `being_deleted`: it will be gone soon."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.being_deleted = message.startswith("object is being deleted")


class Conflict(ClusterUnavailable):
    """409 for another reason: a precondition does not hold, or another call changed something at the same moment.

    A POST gets it when two calls update the namespace's quota at once. Nothing was created.
    """


class Api:
    """The verbs, on paths such as `/api/v1/namespaces/x/pods/y`. Threads share it; it keeps `connections` open.

    Every call has a timeout and may raise ClusterUnavailable (Conflict is one); `post` and `patch` may raise Rejected.
    """

    def __init__(self, access: Access, connections: int) -> None:
        import urllib3

        # No retries but those of `post`: a redelivered event or the sweep calls again.
        options = {"maxsize": connections, "retries": False, **access.tls}
        self._access = access
        self._pool = urllib3.ProxyManager(access.proxy, **options) if access.proxy else urllib3.PoolManager(**options)

    def get(self, path: str, **query: str) -> Body | None:
        """Read an object or a list; None if it does not exist."""
        return self._call("GET", path, query=query)

    def post(self, path: str, body: Body) -> Body:
        """Create an object and return it. Raises AlreadyExists, and Conflict if a few tries all meet one."""
        for tries in range(1, CONFLICT_TRIES):
            try:
                return self._call("POST", path, body) or {}
            except Conflict:
                time.sleep(CONFLICT_BACKOFF.delay(tries))
        return self._call("POST", path, body) or {}

    def delete(self, path: str, options: Body) -> bool:
        """Delete an object; False if it did not exist. Raises Conflict if the preconditions do not hold."""
        return self._call("DELETE", path, options) is not None

    def patch(self, path: str, body: Body) -> bool:
        """Apply a JSON merge patch; False if the object does not exist."""
        return self._call("PATCH", path, body, kind="application/merge-patch+json") is not None

    def stream(self, path: str, max_bytes: int, **query: str) -> Iterator[bytes]:
        """Yield the response's body as it arrives, at most `max_bytes`; nothing if there is none."""
        with self._stream(path, query) as response:
            left = max_bytes
            while response is not None and left > 0 and (chunk := response.read(min(left, 1 << 16))):
                left -= len(chunk)
                yield chunk

    def follow(self, path: str, **query: str) -> Iterator[bytes]:
        """Yield the body as it arrives, and b"" at the start and while it is silent. Yields nothing without a body."""
        from functions.cluster.kubernetes.followed_body import chunks

        with self._stream(path, query, read_seconds=None) as response:
            if response is not None:
                yield b""
                yield from chunks(response)

    @contextmanager
    def _stream(
        self, path: str, query: Body, read_seconds: float | None = READ_SECONDS
    ) -> Iterator[urllib3.BaseHTTPResponse | None]:
        """A response to read piece by piece; None if the container has not started, or is gone."""
        with self._request("GET", path, query=query, read_seconds=read_seconds) as response:
            if response.status in (400, 404):
                yield None
                return
            error = response.read(_LONGEST_ERROR) if response.status >= 300 else b""
            _raise_for_status("GET", path, response.status, response.headers, error)
            yield response

    def _call(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        kind: str = "application/json",
        query: Body | None = None,
    ) -> Body | None:
        with self._request(method, path, body, kind, query) as response:
            content = response.read()
            status = response.status
            headers = response.headers
        if status == 404 and method != "POST":
            return None
        _raise_for_status(method, path, status, headers, content)
        try:
            decoded = json.loads(content)
        except ValueError:
            raise ClusterUnavailable("the Kubernetes API answered with something that is not JSON") from None
        return decoded if isinstance(decoded, dict) else {}

    @contextmanager
    def _request(
        self,
        method: str,
        path: str,
        body: Body | None = None,
        kind: str = "application/json",
        query: Body | None = None,
        read_seconds: float | None = READ_SECONDS,
    ) -> Iterator[urllib3.BaseHTTPResponse]:
        import urllib3

        headers = {"Accept": "application/json", "Content-Type": kind, "User-Agent": "sluice"}
        try:
            if authorization := self._access.authorization():
                headers["Authorization"] = authorization
            response = self._pool.request(
                method,
                self._access.server + path,
                body=json.dumps(body).encode() if body is not None else None,
                fields=dict(query) if query else None,
                headers=headers,
                preload_content=False,
                redirect=False,
                timeout=urllib3.Timeout(connect=CONNECT_SECONDS, read=read_seconds),
            )
            try:
                yield response
            finally:
                response.drain_conn()
                response.release_conn()
        except urllib3.exceptions.HTTPError as e:
            raise ClusterUnavailable(f"the Kubernetes API does not answer ({type(e).__name__})") from None
        except OSError as e:
            raise ClusterUnavailable(f"the service account's token cannot be read ({type(e).__name__})") from None


def _raise_for_status(method: str, path: str, status: int, headers: Mapping[str, str], content: bytes) -> None:
    """Raise the error that the status means; nothing if it is a success."""
    if status < 300:
        return
    message, reason = _read_status(content)
    if status == 409 and method == "POST" and reason == "AlreadyExists":
        raise AlreadyExists(message)
    if status == 409:
        raise Conflict(f"the Kubernetes API reports a conflict: {message}", retry_after=1)
    rejected = _rejection(status, message)
    if rejected is None:
        raise ClusterUnavailable(f"the Kubernetes API answered {status}: {message}", _retry_after(headers))
    if method != "POST":
        logger.error("the Kubernetes API refused a call: %s", message, extra=about(**_needed_right(method, path)))
    if method not in _WRITES:  # our rights are wrong, not the Job
        raise ClusterUnavailable(str(rejected))
    raise rejected


def _rejection(status: int, message: str) -> Rejected | None:
    match status:
        case 400 | 413 | 422:
            return Rejected("Invalid", f"the Kubernetes API refuses the object: {message}", final=True)
        case 403 if "exceeded quota" in message:
            return Rejected("QuotaExceeded", message, final=False)
        case 403:
            return Rejected("Forbidden", f"the Kubernetes API forbids it: {message}", final=False)
        case 404:
            return Rejected("NamespaceMissing", f"the environment's namespace does not exist: {message}", final=False)
        case _:
            return None


def _needed_right(method: str, path: str) -> dict[str, str]:
    """The right that a call needs, in the terms of a Role."""
    _, _, below = path.partition("/namespaces/")
    namespace, resource, name, sub = (*below.split("/"), "", "", "", "")[:4]
    verb = "list" if method == "GET" and not name else method.lower()
    return {"verb": verb, "resource": f"{resource}/{sub}" if sub else resource, "namespace": namespace}


def _read_status(content: bytes) -> tuple[str, str]:
    """The message and the reason of the API's Status object; empty if there is none."""
    try:
        status = json.loads(content)
    except (ValueError, RecursionError):
        return "", ""
    if not isinstance(status, dict):
        return "", ""
    return str(status.get("message", ""))[:_LONGEST_MESSAGE], str(status.get("reason", ""))


def _retry_after(headers: Mapping[str, str]) -> float:
    """The seconds to wait; 5 if the header has none. A proxy in front of the API may send anything."""
    value = headers.get("Retry-After", "")
    is_number = value.isascii() and value.isdigit() and len(value) < 10
    return min(float(value), LONGEST_RETRY_AFTER) if is_number else 5.0
