"""Turns a URL of the workflow document into a DataSource, by its scheme."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote, urlsplit

from functions.log import scrub
from functions.staging.configure.fetch import CHUNK, Body, DataSource
from functions.staging.guarded_http import GuardedHttp, HttpStatusError
from functions.staging.report import StageFailure
from functions.staging.retry import RetryPolicy, TransientError
from functions.workflow.environment import FetchPolicy

if TYPE_CHECKING:
    from urllib3.response import BaseHTTPResponse

_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


def source(
    url: str, policy: FetchPolicy, http: GuardedHttp, credentials: Mapping[str, str], retries: RetryPolicy
) -> DataSource:
    """Return the source of `url`. Raises StageFailure (DataForbidden) for a scheme that the environment excludes."""
    scheme = urlsplit(url).scheme.lower()
    if scheme not in policy.schemes:
        raise StageFailure("DataForbidden", f"this environment does not fetch {scheme or 'empty'}: URLs")
    match scheme:
        case "http" | "https":
            return HttpSource(http, url, scheme)
        case "ipfs":
            return ipfs(url, policy.ipfs_gateway, http)
        case "ar":
            return HttpSource(http, f"{policy.arweave_gateway.rstrip('/')}/{_after_scheme(url)}", "ar")
        case "file":
            return FileSource(unquote(urlsplit(url).path))
        case _:
            from functions.staging.configure.object_source import ObjectSource

            return ObjectSource.of(url, policy, credentials, retries)


def ipfs(url: str, gateway: str, http: GuardedHttp) -> DataSource:
    """Return the source behind the gateway's `/ipfs/CID`, or behind the node's `cat` if it ends in `/api/v0`."""
    path = _after_scheme(url).removeprefix("ipfs/")
    base = gateway.rstrip("/")
    if not base.endswith("/api/v0"):
        return HttpSource(http, f"{base}/ipfs/{path}", "ipfs")
    return IpfsSource(http, f"{base}/cat?arg={quote(unquote(path), safe='')}")


@dataclass(frozen=True)
class HttpSource:
    """A file that a GET returns."""

    http: GuardedHttp
    url: str
    kind: str

    @property
    def where(self) -> str:
        return scrub(self.url)

    @contextmanager
    def open(self, start: int, version: str | None) -> Iterator[Body]:
        headers = {"Range": f"bytes={start}-", "If-Range": version} if start and version else {}
        try:
            with self.http.request("GET", self.url, headers) as response:
                begin, size = _extent(response)
                yield Body(chunks(response), begin, size, _validator(response))
        except HttpStatusError as e:
            if start and e.status in (412, 416):
                raise TransientError("the server no longer has this part of the file", restart=True) from None
            raise


@dataclass(frozen=True)
class IpfsSource:
    """A file from a node's API. The content of a CID never changes, so the URL is the version."""

    http: GuardedHttp
    url: str
    kind: str = "ipfs"

    @property
    def where(self) -> str:
        return scrub(self.url)

    @contextmanager
    def open(self, start: int, version: str | None) -> Iterator[Body]:
        start = start if version else 0
        with self.http.request("POST", f"{self.url}&offset={start}" if start else self.url) as response:
            length = response.headers.get("x-content-length") or response.headers.get("content-length")
            size = start + int(length) if length and length.isdigit() else None
            yield Body(chunks(response), start, size, self.url)


@dataclass(frozen=True)
class TextSource:
    """A text in the workflow document itself: `rawcode`."""

    text: str
    where: str = "the workflow document"
    kind: str = "rawcode"

    @contextmanager
    def open(self, start: int, version: str | None) -> Iterator[Body]:
        data = self.text.encode()
        yield Body(iter([data]), 0, len(data), None)


@dataclass(frozen=True)
class FileSource:
    """A file of this machine. Only the laptop allows it."""

    path: str
    kind: str = "file"

    @property
    def where(self) -> str:
        return f"file://{self.path}"

    @contextmanager
    def open(self, start: int, version: str | None) -> Iterator[Body]:
        with open(self._descriptor(), "rb", buffering=0) as file:
            yield Body(iter(lambda: file.read(CHUNK), b""), 0, os.fstat(file.fileno()).st_size, None)

    def _descriptor(self) -> int:
        try:
            # O_NONBLOCK: opening a named pipe must not block.
            descriptor = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as e:
            raise StageFailure("DataUnavailable", f"{self.path}: {e.strerror}") from None
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise StageFailure("DataUnavailable", f"{self.path}: not a regular file")
        return descriptor


def chunks(response: BaseHTTPResponse) -> Iterator[bytes]:
    """Yield the body as it arrives, so that the bytes before a broken connection are kept."""
    while data := response.read1(CHUNK, decode_content=False):
        yield data


def _extent(response: BaseHTTPResponse) -> tuple[int, int | None]:
    """Return the first byte of the answer, and the size of the whole file if it is known."""
    if response.status == 206:
        found = _RANGE.fullmatch(response.headers.get("content-range", "").strip())
        if not found:
            raise TransientError("the server sends a part of the file without a valid Content-Range")
        return int(found[1]), None if found[2] == "*" else int(found[2])
    length = response.headers.get("content-length", "")
    return 0, int(length) if length.isdigit() and not response.headers.get("transfer-encoding") else None


def _validator(response: BaseHTTPResponse) -> str | None:
    """Return what `If-Range` accepts: a strong ETag, else the date."""
    etag = response.headers.get("etag", "").strip()
    if etag.startswith('"'):
        return etag
    return response.headers.get("last-modified")


def _after_scheme(url: str) -> str:
    """Return host and path with their case unchanged: a CID is case-sensitive."""
    return url.split("://", 1)[1].split("#", 1)[0].split("?", 1)[0]
