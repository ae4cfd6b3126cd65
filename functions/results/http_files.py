"""Reads files with https: URLs: those that operator-engine published, and those behind an IPFS gateway."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

from functions.results.ports import Content, NotFound, StorageTimeout, StorageUnavailable
from functions.untrusted import content_range, header_number
from functions.workflow.model import ResultFile

if TYPE_CHECKING:
    from urllib3 import BaseHTTPResponse, PoolManager

CHUNK = 256 * 1024
CONNECT_SECONDS, READ_SECONDS = 10.0, 60.0  # the second: without a byte
_REDIRECTS = 5


class HttpFiles:
    """Reads over HTTP. `headers` (API keys) are sent only to `hosts` (`name:port` as in a URL)."""

    def __init__(self, headers: Mapping[str, str], hosts: frozenset[str]) -> None:
        self._headers = dict(headers)
        self._hosts = hosts

    @cached_property
    def _pool(self) -> PoolManager:
        return pool()

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        """Open a file, as Storage.open does."""
        wanted = f"bytes={start}-{'' if end is None else end - 1}" if start or end is not None else ""
        with errors():
            response = self._get(file.url, {"Range": wanted} if wanted else {})
        try:
            return _content(response, file, start, end)
        except Exception:
            response.close()
            raise

    def _get(self, url: str, extra: Mapping[str, str]) -> BaseHTTPResponse:
        for _ in range(_REDIRECTS + 1):
            own = self._headers if urlsplit(url).netloc in self._hosts else {}
            response = self._pool.request(
                "GET",
                url,
                headers={**extra, **own, "Accept-Encoding": "identity"},
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
            if not response.get_redirect_location():
                return response
            url = urljoin(url, str(response.get_redirect_location()))
            response.close()
            if urlsplit(url).scheme not in ("http", "https"):
                break
        raise StorageUnavailable("the server redirects too often, or to another scheme")


def pool() -> PoolManager:
    """Return a connection pool with timeouts, which retries connecting only."""
    from urllib3 import PoolManager, Retry, Timeout

    # A request that was sent is not repeated here: it may have had its effect.
    retry = Retry(total=None, connect=2, read=0, redirect=0, status=0, other=0, backoff_factor=0.2)
    return PoolManager(timeout=Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS), retries=retry)


def read(response: BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the body as it arrives, and close the response."""
    try:
        with errors():
            yield from response.stream(CHUNK, decode_content=False)
    finally:
        response.close()  # a connection with an unread body must not return to the pool


@contextmanager
def errors() -> Iterator[None]:
    """Turn urllib3's errors into those of the port."""
    from urllib3 import exceptions

    try:
        yield
    except (exceptions.TimeoutError, TimeoutError) as e:
        raise StorageTimeout(f"{type(e).__name__}") from e
    except exceptions.MaxRetryError as e:
        kind = StorageTimeout if isinstance(e.reason, exceptions.TimeoutError) else StorageUnavailable
        raise kind(f"{type(e.reason).__name__}") from e
    except (exceptions.HTTPError, OSError, ValueError) as e:
        raise StorageUnavailable(f"{type(e).__name__}") from e


def _content(response: BaseHTTPResponse, file: ResultFile, start: int, end: int | None) -> Content:
    status, headers = response.status, response.headers
    if status in (404, 410):
        raise NotFound
    if status not in (200, 206):
        raise StorageUnavailable(f"the storage answered {status}")
    if headers.get("Content-Encoding", "identity") != "identity":
        raise StorageUnavailable("the storage sent an encoded body, which was not requested")
    if status == 200:
        length = header_number(headers.get("Content-Length"))
        size = file.size if length is None else length
        # The server ignored the range.
        chunks = _part(read(response), start, end) if start or end is not None else read(response)
        return Content(chunks, size, response.close)
    found = content_range(headers.get("Content-Range"))
    if found is None or found.first != start:
        raise StorageUnavailable("the storage answered with another range than requested")
    return Content(read(response), file.size if found.size is None else found.size, response.close)


def _part(chunks: Iterator[bytes], start: int, end: int | None) -> Iterator[bytes]:
    at = 0
    for chunk in chunks:
        low = max(start - at, 0)
        high = len(chunk) if end is None else min(end - at, len(chunk))
        if low < high:
            yield chunk[low:high]
        at += len(chunk)
        if end is not None and at >= end:
            return
