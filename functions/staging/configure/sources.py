"""Turns a URL of the workflow document into a DataSource, by its scheme."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from functions.log import scrub
from functions.staging.configure.fetch import Body, DataSource
from functions.staging.configure.local_sources import FileSource
from functions.staging.guarded_http import Answer, GuardedHttp, HttpStatusError
from functions.staging.report import StageFailure
from functions.staging.retry import RetryPolicy, TransientError
from functions.untrusted import content_range, header_number
from functions.workflow.stage_options import FetchOptions

_VALIDATOR = re.compile(r'"[\x21\x23-\x7e]{1,200}"|[A-Z][A-Za-z0-9,: ]{1,60}')  # a strong ETag, or a date
# The first part of a path at one of the operator's gateways. Other text could be a command of the gateway's API.
_CID = re.compile(r"[A-Za-z0-9]+")
_ARWEAVE_ID = re.compile(r"[A-Za-z0-9_-]{43}")


def source(
    url: str, options: FetchOptions, http: GuardedHttp, credentials: Mapping[str, str], retries: RetryPolicy
) -> DataSource:
    """Return the source of `url`. Raises StageFailure (DataForbidden) for a scheme that the environment excludes."""
    scheme = urlsplit(url).scheme.lower()
    if scheme not in options.schemes:
        raise StageFailure("DataForbidden", f"this environment does not fetch {scheme or 'empty'}: URLs")
    match scheme:
        case "http" | "https":
            return HttpSource(http, url, scheme)
        case "ipfs":
            return ipfs(url, options.ipfs_gateway, http)
        case "ar":
            return HttpSource(
                http, f"{options.arweave_gateway.rstrip('/')}/{_content_path(url, _ARWEAVE_ID)}", "ar", trusted=True
            )
        case "file":
            return FileSource(unquote(urlsplit(url).path))
        case _:
            from functions.staging.configure.object_source import ObjectSource

            return ObjectSource.of(url, options, credentials, retries)


def ipfs(url: str, gateway: str, http: GuardedHttp) -> DataSource:
    """Return the source behind the gateway's `/ipfs/CID`, or behind the node's `cat` if it ends in `/api/v0`."""
    path = _content_path(url, _CID)
    base = gateway.rstrip("/")
    if not base.endswith("/api/v0"):
        return HttpSource(http, f"{base}/ipfs/{path}", "ipfs", trusted=True)
    return IpfsSource(http, f"{base}/cat?arg={quote(unquote(path), safe='')}")


class HttpSource(NamedTuple):
    """A file that a GET returns. `trusted`: Sluice built the URL from the operator's settings."""

    http: GuardedHttp
    url: str
    kind: str
    trusted: bool = False

    @property
    def where(self) -> str:
        return scrub(self.url)

    @contextmanager
    def open(self, start: int, version: str | None) -> Iterator[Body]:
        headers = {"Range": f"bytes={start}-", "If-Range": version} if start and version else {}
        try:
            with self.http.request("GET", self.url, headers, trusted=self.trusted) as answer:
                begin, size = _extent(answer)
                yield Body(answer.chunks(), begin, size, _validator(answer))
        except HttpStatusError as e:
            if start and e.status in (412, 416):
                raise TransientError("the server no longer has this part of the file", restart=True) from None
            raise


class IpfsSource(NamedTuple):
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
        url = f"{self.url}&offset={start}" if start else self.url
        with self.http.request("POST", url, trusted=True) as answer:
            length = header_number(answer.headers.get("x-content-length") or answer.headers.get("content-length"))
            size = start + length if length is not None and not answer.encoding else None
            yield Body(answer.chunks(), start, size, self.url)


def _extent(answer: Answer) -> tuple[int, int | None]:
    """Return the first byte of the answer, and the size of the whole file if it is known."""
    if answer.status == 206:
        found = content_range(answer.headers.get("content-range"))
        if found is None:
            raise TransientError("the server sends a part of the file without a valid Content-Range")
        if answer.encoding and found.first:
            raise TransientError("the server encodes a part of the file", restart=True)
        return found.first, None if answer.encoding else found.size
    length = header_number(answer.headers.get("content-length"))
    return 0, None if answer.encoding or answer.chunked else length


def _validator(answer: Answer) -> str | None:
    """Return what `If-Range` accepts: a strong ETag, else the date. None if the body is encoded: it cannot resume."""
    if answer.encoding:
        return None
    candidates = (answer.headers.get("etag", "").strip(), answer.headers.get("last-modified", "").strip())
    return next((value for value in candidates if _VALIDATOR.fullmatch(value)), None)


def _content_path(url: str, first: re.Pattern[str]) -> str:
    """Return the part after the scheme, with its case unchanged: a content id is case-sensitive.

    Its beginning must match `first`, and no part may be empty, `.` or `..`. Raises StageFailure.
    """
    path = url.split("://", 1)[-1].split("#", 1)[0].split("?", 1)[0].removeprefix("ipfs/")
    parts = path.removesuffix("/").split("/")
    # Gateways decode once; `%252e` therefore stays a name.
    plain = [unquote(part) for part in parts]
    if not first.fullmatch(parts[0]) or any(part in ("", ".", "..") or set(part) & set("/\\\0") for part in plain):
        raise StageFailure("DataUnavailable", "the URL does not name a content id and a path below it")
    return path
