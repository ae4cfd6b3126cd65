"""Sends one HTTP request to one address, through urllib3. Reads headers strictly, and every byte within a time limit.

urllib3 is imported with this module, so programs import this module only when they make a request.
"""

from __future__ import annotations

import http.client
import io
import ssl
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from typing import Any, BinaryIO

import urllib3
import urllib3.connection
from urllib3 import exceptions as known
from urllib3.response import BaseHTTPResponse

from functions.staging.report import StageFailure
from functions.staging.retry import TransientError
from functions.untrusted import HttpUrl

TimeLeft = Callable[[], float]  # seconds until the stage must end; raises when they are over


def send(
    address: str,
    method: str,
    url: HttpUrl,
    headers: Mapping[str, str],
    body: bytes | Iterable[bytes] | None,
    *,
    connect: float,
    stall: float,
    time_left: TimeLeft,
    tls: ssl.SSLContext | None,
) -> BaseHTTPResponse:
    """Send a request to `address`, with the name in `url` for TLS. The body of the answer is not read yet.

    `connect` and `stall` (without a byte) are in seconds. Raises urllib3's errors.
    """
    timeout = urllib3.Timeout(connect=min(connect, time_left()), read=stall)
    limit = partial(_next_timeout, stall, time_left)
    pool: urllib3.HTTPConnectionPool
    if url.scheme == "https":
        context = tls or default_tls()
        pool = _HttpsPool(
            address, url.port, timeout=timeout, ssl_context=context, server_hostname=url.host, next_timeout=limit
        )
    else:
        pool = _HttpPool(address, url.port, timeout=timeout, next_timeout=limit)
    return pool.urlopen(
        method,
        url.path,
        body,
        headers,
        retries=False,
        redirect=False,
        assert_same_host=False,
        preload_content=False,
        decode_content=False,
    )


@cache
def default_tls() -> ssl.SSLContext:
    """Return the context that trusts the authorities of this machine."""
    return ssl.create_default_context()


def is_unreachable(error: Exception) -> bool:
    """Whether no connection to the address was made, so that another address may be tried."""
    return isinstance(error, known.ConnectTimeoutError | known.NewConnectionError)


def as_failure(error: known.HTTPError) -> StageFailure | TransientError:
    """Return the failure that urllib3's error means, without its text, which contains internal addresses."""
    match error:
        case known.SSLError():
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                return StageFailure("DataUnavailable", "the server's TLS certificate is not valid for its name")
            return TransientError("the TLS connection broke")
        case known.InvalidHeader():
            return StageFailure("DataUnavailable", "the server's answer has contradicting headers")
        case known.ConnectTimeoutError() | known.NewConnectionError():
            return TransientError("the server cannot be reached", absent=isinstance(error, known.NewConnectionError))
        case known.TimeoutError():
            return TransientError("the server stalls")
        case _:
            return TransientError("the connection broke")


def _next_timeout(stall: float, time_left: TimeLeft) -> float:
    return max(min(stall, time_left()), 0.001)  # 0 would mean: do not wait at all


class _TimedReader(io.RawIOBase):
    """Reads a socket, with a new timeout for each read."""

    def __init__(self, sock: Any, next_timeout: Callable[[], float]) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._next_timeout = next_timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._sock.settimeout(self._next_timeout())
        count: int | None = self._raw.readinto(buffer)
        return count

    def close(self) -> None:
        self._raw.close()
        super().close()


class _HeaderReader:
    """Reads header lines. The end of the stream in the middle of the headers is an error."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def readline(self, limit: int = -1) -> bytes:
        line = self._stream.readline(limit)
        if not line.endswith(b"\n") and (limit < 0 or len(line) < limit):
            raise http.client.IncompleteRead(line)
        return line

    def close(self) -> None:
        self._stream.close()


class _Response(http.client.HTTPResponse):
    """http.client accepts headers that end in the middle, and limits each read but not all of them together."""

    fp: Any

    def __init__(self, sock: Any, *args: Any, next_timeout: Callable[[], float], **more: Any) -> None:
        super().__init__(sock, *args, **more)
        self.fp.close()
        self.fp = io.BufferedReader(_TimedReader(sock, next_timeout))

    def begin(self) -> None:
        stream = self.fp
        self.fp = _HeaderReader(stream)
        try:
            super().begin()
        finally:
            if self.fp is not None:  # None: the answer has no body, and is closed
                self.fp = stream


class _HttpConnection(urllib3.connection.HTTPConnection):
    def __init__(self, *args: Any, next_timeout: Callable[[], float], **more: Any) -> None:
        super().__init__(*args, **more)
        self.response_class = partial(_Response, next_timeout=next_timeout)  # type: ignore[assignment]


class _HttpsConnection(urllib3.connection.HTTPSConnection):
    def __init__(self, *args: Any, next_timeout: Callable[[], float], **more: Any) -> None:
        super().__init__(*args, **more)
        self.response_class = partial(_Response, next_timeout=next_timeout)  # type: ignore[assignment]


class _HttpPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _HttpConnection


class _HttpsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _HttpsConnection
