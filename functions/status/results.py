"""Streams one published file from its storage, with ranges. The answer does not reveal where the file is stored."""

from __future__ import annotations

import logging
import mimetypes
import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import quote

from msgspec import Struct
from werkzeug.http import parse_range_header, quote_etag
from werkzeug.wrappers import Request, Response

from functions.api.http import HttpError
from functions.results.ports import Content, NotFound, Storage, StorageTimeout, StorageUnavailable
from functions.workflow.model import ResultFile

logger = logging.getLogger(__name__)

# Characters that need no quotes in a header. Some clients decode `%`, so it is quoted.
_PLAIN = re.compile(r"[A-Za-z0-9!#$&+.^_`|~-]+")


class Interrupted(Exception):
    """The storage stopped sending. The connection is cut, so the client notices and can resume with Range."""


class _Part(Struct, frozen=True):
    """The bytes [start, end) to send."""

    start: int
    end: int
    partial: bool


def respond(request: Request, file: ResultFile, storage: Storage) -> Response:
    """Answer GET or HEAD. Raises HttpError 404, 416, 502 or 504."""
    etag = quote_etag(file.sha256) if file.sha256 else None
    if file.sha256 and request.if_none_match.contains(file.sha256):
        return Response(status=304, headers=_headers(file, etag))
    part = _part(request, file)
    content = _open(storage, file, part)
    if content.size != file.size:
        content.close()
        logger.error("a stored file has %d bytes, but %d were published", content.size, file.size)
        raise HttpError(502, "the stored result differs in size from the published one")
    headers = _headers(file, etag) | {"Content-Length": str(part.end - part.start)}
    if part.partial:
        headers["Content-Range"] = f"bytes {part.start}-{part.end - 1}/{file.size}"
    if request.method == "HEAD":
        content.close()
        return Response(status=206 if part.partial else 200, headers=headers)
    body = _Body(content, part.end - part.start)
    # Pass-through keeps werkzeug from buffering the body and from changing its length.
    return Response(body, 206 if part.partial else 200, headers, direct_passthrough=True)


def _headers(file: ResultFile, etag: str | None) -> dict[str, str]:
    headers = {
        "Content-Type": file.content_type or mimetypes.guess_type(file.filename)[0] or "application/octet-stream",
        "Content-Disposition": disposition(file.filename),
        "Access-Control-Expose-Headers": "Content-Disposition",
        "Accept-Ranges": "bytes",
    }
    return headers | ({"ETag": etag} if etag else {})


def disposition(filename: str) -> str:
    """Return `attachment;filename=<name>`, as Ocean sends it, or the quoted form of RFC 6266 for other names."""
    name = filename.rsplit("/", 1)[-1]
    if _PLAIN.fullmatch(name):
        return f"attachment;filename={name}"
    ascii_name = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    fallback = re.sub(r"[^A-Za-z0-9 !#$&'()+,.;=@^_`{}~-]", "_", ascii_name).strip(" .") or "result"
    return f"attachment;filename=\"{fallback}\";filename*=UTF-8''{quote(name, safe='')}"


def _part(request: Request, file: ResultFile) -> _Part:
    """Return the requested part. Several ranges, or a range of another version, get the whole file."""
    whole = _Part(0, file.size, partial=False)
    if request.if_range.date or (request.if_range.etag and request.if_range.etag != file.sha256):
        return whole
    asked = parse_range_header(request.headers.get("Range"))
    if asked is None or asked.units != "bytes" or len(asked.ranges) != 1:
        return whole
    first, stop = asked.ranges[0]
    # werkzeug's range_for_length refuses a suffix longer than the file, which RFC 9110 allows.
    start = first if first >= 0 else max(file.size + first, 0)
    end = file.size if stop is None else min(stop, file.size)
    if start >= end:
        raise HttpError(416, f"the result has {file.size} bytes", {"Content-Range": f"bytes */{file.size}"})
    return _Part(start, end, partial=True)


def _open(storage: Storage, file: ResultFile, part: _Part) -> Content:
    try:
        return storage.open(file, part.start, part.end) if part.partial else storage.open(file)
    except NotFound:
        logger.error("a published file is not in the storage: %s", file.path)
        raise HttpError(404, "the result is no longer in the storage") from None
    except StorageTimeout as e:
        logger.error("the storage of results did not answer: %s", e)
        raise HttpError(504, "the storage of results did not answer in time; try again") from None
    except StorageUnavailable as e:
        logger.error("the storage of results failed: %s", e)
        raise HttpError(502, "the storage of results cannot be reached; try again") from None


class _Body:
    """Yields exactly `length` bytes, or raises Interrupted, which cuts the connection."""

    def __init__(self, content: Content, length: int) -> None:
        self._content = content
        self._length = length

    def __iter__(self) -> Iterator[bytes]:
        left = self._length
        try:
            for chunk in self._content.chunks:
                yield chunk[:left]
                left -= min(left, len(chunk))
                if not left:
                    break
        except StorageUnavailable as e:
            logger.error("the storage of results broke off: %s", e)
            raise Interrupted("the storage of results broke off") from None
        if left:
            logger.error("the storage of results sent %d bytes too few", left)
            raise Interrupted("the storage of results sent too few bytes")

    def close(self) -> None:
        self._content.close()
