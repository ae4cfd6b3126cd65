"""Checks of single fields of a document. Each yields the path of a wrong field, and what was expected there. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import SplitResult, urlsplit

DID = "did:op:"
# An id without `did:op:` becomes a folder below /data/inputs. 200 characters leave room for what is added to its name.
_SAFE_FOLDER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:\-]{0,199}")
_SHA256 = re.compile(r"(?:sha256:)?[0-9a-fA-F]{64}")


def check_id(value: str, at: str) -> Iterator[tuple[str, str]]:
    """Find an id that cannot become a folder's name."""
    if value and (not _SAFE_FOLDER.fullmatch(value.removeprefix(DID)) or ".." in value):
        form = "begins with a letter or digit and has at most 200 characters after `did:op:`"
        yield at, f"an id of letters, digits, `.`, `_`, `:` and `-` (it becomes a folder's name) that {form}"


def check_sha256(value: str, at: str) -> Iterator[tuple[str, str]]:
    """Find what is not a sha256 checksum."""
    if not _SHA256.fullmatch(value):
        yield at, "a sha256 checksum: 64 hexadecimal digits, with or without `sha256:`"


def check_url(url: str, at: str, schemes: frozenset[str]) -> Iterator[tuple[str, str]]:
    """Find a URL that is not fetched, or cannot be one."""
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - raises ValueError on a bad port
    except ValueError:
        yield at, "a URL"
        return
    if parts.scheme.lower() not in schemes:
        yield at, f"a URL with one of the schemes {', '.join(sorted(schemes))}"
    elif has_controls(url) or " " in url or len(url) > 8192:
        yield at, "a URL without spaces and control characters, at most 8192 long"
    elif not (parts.hostname or parts.scheme == "file"):
        yield at, "a URL with a host"
    elif problem := place_problem(parts):
        yield at, problem


def place_problem(url: SplitResult) -> str:
    """Return what was expected of a URL that does not name exactly one place; empty if the URL does.

    Storages ignore the port of a bucket's URL, and the host of a file: URL.
    """
    match url.scheme:
        case "file":
            absolute = url.netloc in ("", "localhost") and url.path.startswith("/")
            return "" if absolute else "a file: URL with three slashes and an absolute path, such as file:///data/a.csv"
        case "s3" | "gs" | "az" if not url.netloc:
            return "a URL with a bucket"
        case "s3" | "gs" | "az" if ":" in url.netloc.rpartition("@")[2]:
            return "a URL with a bucket and no port"
        case "http" | "https" if not url.netloc:
            return "a URL with a host"
        case _:
            return ""


def has_controls(text: str) -> bool:
    """Whether a text holds control characters."""
    return any(ord(c) < 32 or ord(c) == 127 for c in text)


def depth_left(value: Any, left: int) -> int:
    """Return the levels of nesting still allowed below `value`; negative if there are too many."""
    if left < 0 or not isinstance(value, dict | list):
        return left
    children = value.values() if isinstance(value, dict) else value
    return min((depth_left(child, left - 1) for child in children), default=left)
