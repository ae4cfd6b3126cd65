"""Parses text that other machines send: JSON, URLs and the numbers in HTTP headers.

Every function accepts any input. A parser of a header returns None for an invalid value; the others raise Malformed.
"""

from __future__ import annotations

import re
from binascii import b2a_base64
from datetime import UTC, datetime
from typing import Any, NamedTuple, TypeVar, overload
from urllib.parse import quote, unquote, urljoin, urlsplit

import msgspec

T = TypeVar("T")

_MAX_DIGITS = 18  # a number with this many digits fits into 64 bits
_MAX_HOST = 253  # RFC 1035
_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+|\*)")
_HOST = re.compile(r"[A-Za-z0-9._:-]+")
_SAFE_IN_PATH = "/%:@!$&'()*+,;=~-._?[]"


class Malformed(ValueError):
    """The text is invalid. The message says what is wrong."""


# --- JSON -----------------------------------------------------------------------------------


@overload
def parse_json(data: bytes | str) -> Any: ...
@overload
def parse_json(data: bytes | str, kind: type[T]) -> T: ...
def parse_json(data: bytes | str, kind: Any = Any) -> Any:
    """Decode JSON, as a `kind` if one is given. Raises Malformed.

    Text with lone surrogates is refused, so every decoded string can be encoded again.
    """
    try:
        return msgspec.json.decode(data, type=kind)
    except RecursionError:
        raise Malformed("the JSON is nested too deeply") from None
    except msgspec.ValidationError as e:
        raise Malformed(f"the JSON does not have the expected shape: {e}") from None
    except ValueError:  # msgspec.DecodeError and UnicodeError
        raise Malformed("the text is not JSON") from None


# --- URLs -----------------------------------------------------------------------------------


class HttpUrl(NamedTuple):
    """An http: or https: URL that was parsed once, so that every later step reads it the same way."""

    scheme: str
    host: str  # lower-case, as ASCII
    port: int
    path: str  # with the query, percent-encoded
    authorization: str | None = None  # the header for the URL's user name and password

    @property
    def origin(self) -> tuple[str, str, int]:
        return self.scheme, self.host, self.port

    @property
    def host_header(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _PORTS[self.scheme] else f"{host}:{self.port}"

    def __str__(self) -> str:
        """The URL without user name and password."""
        return f"{self.scheme}://{self.host_header}{self.path}"


class UnknownScheme(Malformed):
    """The URL is neither an http: nor an https: URL."""


_PORTS = {"http": 80, "https": 443}


def parse_url(url: str) -> HttpUrl:
    """Parse an http: or https: URL. Raises Malformed."""
    try:
        parts = urlsplit(url)
        if parts.scheme not in _PORTS:
            raise UnknownScheme(f"{parts.scheme or 'empty'}: URLs are not http: URLs")
        host = _host(parts.hostname or "")
        path = quote(parts.path or "/", safe=_SAFE_IN_PATH, errors="surrogateescape")
        if parts.query:
            path += "?" + quote(parts.query, safe=_SAFE_IN_PATH, errors="surrogateescape")
        authorization = None
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            authorization = "Basic " + b2a_base64(pair.encode(), newline=False).decode()
        return HttpUrl(parts.scheme, host, parts.port or _PORTS[parts.scheme], path, authorization)
    except Malformed:
        raise
    except ValueError:  # UnicodeError too
        raise Malformed("the URL is malformed") from None


def parse_location(base: HttpUrl, location: str) -> HttpUrl:
    """Parse a Location header, which may be relative to `base`. Raises Malformed.

    http.client decodes headers as Latin-1, but servers send UTF-8. Bytes that are neither are percent-encoded.
    """
    try:
        text = location.encode("latin-1").decode("utf-8", "surrogateescape")
        return parse_url(urljoin(str(base), text))
    except Malformed:
        raise
    except ValueError:
        raise Malformed("the URL is malformed") from None


def _host(host: str) -> str:
    """Return a host name or address in lower case. Names that are not ASCII become IDNA names."""
    if not host.isascii() and len(host) <= _MAX_HOST:
        host = host.encode("idna").decode()
    if not _HOST.fullmatch(host) or len(host) > _MAX_HOST:
        raise Malformed("the URL has no valid host name")
    return host.lower()


# --- HTTP headers ---------------------------------------------------------------------------


class ContentRange(NamedTuple):
    """The bytes `first` to `last` (included) of a file of `size` bytes; None if the size is unknown."""

    first: int
    last: int
    size: int | None


def header_number(value: str | None) -> int | None:
    """Return a whole number, such as a Content-Length. None for anything but up to 18 ASCII digits."""
    text = (value or "").strip(" \t")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else None


def content_range(value: str | None) -> ContentRange | None:
    """Return a Content-Range of bytes. None if it is missing, invalid or contradicts itself."""
    found = _RANGE.fullmatch((value or "").strip(" \t"))
    if not found:
        return None
    first, last = header_number(found[1]), header_number(found[2])
    size = None if found[3] == "*" else header_number(found[3])
    if first is None or last is None or (found[3] != "*" and size is None):
        return None
    return ContentRange(first, last, size) if first <= last and (size is None or last < size) else None


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds of a Retry-After header, in either of its forms. None if it is missing or invalid."""
    seconds = header_number(value)
    if seconds is not None:
        return float(seconds)
    try:
        at = datetime.strptime((value or "").strip(" \t"), "%a, %d %b %Y %H:%M:%S GMT").replace(tzinfo=UTC)
    except ValueError:
        return None
    return max(0.0, (at - now).total_seconds())
