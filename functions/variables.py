"""Reads variables from the environment and from the files of a mounted Secret.

The stage programs import this module alone, because importing `Settings` would slow their start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Schemes of storages that keep objects by name, and not by content as IPFS does.
NAMED_OBJECTS = ("file", "s3", "gs", "az")

HTTP, ADDRESS = "http", "address"
Allowed = range | tuple[str, ...] | str | None  # numbers, words, HTTP, ADDRESS, or None for anything


class SettingsError(ValueError):
    """A variable has an unusable value. The message names the variable and what it must be, never its value."""


def with_credentials(credentials_dir: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Return the environment, overridden by the files in the credentials folder."""
    files = sorted(Path(credentials_dir).iterdir()) if credentials_dir and Path(credentials_dir).is_dir() else []
    # A mounted Secret also holds `..data` and the like.
    found = {f.name: f.read_text().strip() for f in files if f.is_file() and not f.name.startswith(".")}
    return {**environ, **found}


def text_of(environ: Mapping[str, str], variable: str, *, secret: bool, optional: bool = False) -> str | None:
    """Return the text of a variable; None if it is not set. A secret may be in the file that `<variable>_FILE` names.

    Raises SettingsError if that file cannot be read, or is missing and not `optional`.
    """
    if variable in environ:
        return environ[variable]
    path = environ.get(f"{variable}_FILE") if secret else None
    if not path:
        return None
    try:
        return Path(path).read_text().strip()
    except (OSError, UnicodeDecodeError) as e:
        if optional and isinstance(e, FileNotFoundError):
            return None
        raise SettingsError(f"{variable}_FILE names a file that cannot be read") from None


def parse(variable: str, text: str, kind: Any, example: str = "", allowed: Allowed = None) -> Any:
    """Return the value of a variable as `kind`: bool, int, a tuple of strings, or text. Raises SettingsError.

    `example`: an item of the tuple, for the error. `allowed`: a range of numbers, words of which a value must be one (a
    word in capitals may also be given in small letters), or HTTP for a URL, which may be empty, or a tuple of URLs.
    ADDRESS is the same for addresses of Ethereum.
    """
    try:
        value = _converted(text, kind, example)
    except ValueError as e:
        raise SettingsError(f"{variable} must be {e}") from None
    if isinstance(allowed, str):
        has_form, form = _FORMS[allowed]
        if not all(map(has_form, value if isinstance(value, tuple) else filter(None, [value]))):
            raise SettingsError(f"{variable}{': each entry' if isinstance(value, tuple) else ''} must be {form}")
    if isinstance(allowed, range) and value not in allowed:
        raise SettingsError(f"{variable} must be a whole number from {allowed[0]} to {allowed[-1]}")
    if isinstance(allowed, tuple) and not {value, value.upper()} & {*allowed}:
        raise SettingsError(f"{variable} must be one of {', '.join(allowed)}")
    return value


def _converted(text: str, kind: Any, example: str) -> Any:
    if kind is bool:
        return _boolean(text)
    if kind is int:
        return _integer(text)
    if kind == tuple[str, ...]:
        return _strings(text, example)
    return text


def is_http(url: str) -> bool:
    """Whether this is an http: or https: URL with a host."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        return parts.scheme in ("https", "http") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # `port` raises it too
        return False


def is_address(text: str) -> bool:
    """Whether this is an address of Ethereum, in any case."""
    return len(text) == 42 and text[:2].lower() == "0x" and set(text[2:]) <= set("0123456789abcdefABCDEF")


_FORMS = {
    HTTP: (is_http, "a URL with a host that begins with https:// or http://"),
    ADDRESS: (is_address, "an address: 0x and 40 hexadecimal digits"),
}


def storage_scheme(variable: str, url: str, schemes: Sequence[str]) -> str:
    """Return the scheme of a storage's URL. Raises SettingsError unless it is one of `schemes` and names a place."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
    except ValueError:
        raise SettingsError(f"{variable} is not a URL") from None
    if parts.scheme not in schemes:
        named = [f"{scheme}:" for scheme in schemes]
        raise SettingsError(f"{variable} must begin with {', '.join(named[:-1])} or {named[-1]}")
    if parts.scheme == "file" and (parts.netloc not in ("", "localhost") or not parts.path.startswith("/")):
        raise SettingsError(f"{variable}: a file: URL must name an absolute path, such as file:///var/lib/sluice")
    if parts.scheme in ("s3", "gs", "az") and not parts.netloc:
        raise SettingsError(f"{variable}: a {parts.scheme}: URL must name a bucket, such as s3://bucket/prefix")
    return parts.scheme


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("a whole number") from None


def _boolean(text: str) -> bool:
    if text not in ("0", "1", ""):
        raise ValueError("0 or 1")
    return text == "1"


def _strings(text: str, example: str) -> tuple[str, ...]:
    try:
        items = json.loads(text or "[]")
    except ValueError:
        items = None
    if not isinstance(items, list) or not all(isinstance(item, str) for item in items):
        raise ValueError(f'a JSON array of strings, such as ["{example}"]')
    return tuple(items)
