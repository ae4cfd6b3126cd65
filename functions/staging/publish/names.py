"""Turns the file names of an algorithm into published names.

A file name is bytes; a published name is unique text that is safe in terminals, headers and paths. Bytes that are not
UTF-8, control and invisible characters, `\\` and `%` become `%XX`. Percent-decoding returns the original bytes.
"""

from __future__ import annotations

import hashlib
import unicodedata

# Published names never contain a bare `%`, so no algorithm can write to this folder.
_LONG_NAMES = "%long"
# S3 allows 1024 bytes for a key, file systems 255 for one name. The storage's prefix and the attempt come on top.
_MAX_KEY = 700
_MAX_PART = 200


def published_name(name: bytes) -> str:
    """Return the published form of one path segment."""
    return "".join(map(_safe, name.decode("utf-8", "surrogateescape")))


def storage_path(path: str) -> str:
    """Return where `path` (`outputs/…`) is stored: at `path` itself, or at its sha256 if `path` is too long."""
    parts = path.split("/")
    if len(path.encode()) <= _MAX_KEY and all(len(part.encode()) <= _MAX_PART for part in parts):
        return path
    return f"{parts[0]}/{_LONG_NAMES}/{hashlib.sha256(path.encode()).hexdigest()}"


def _safe(char: str) -> str:
    if char.isascii() and char.isprintable() and char not in "%\\":
        return char
    # Categories C*: control, format (bidi overrides, zero width), surrogates (bytes that are not UTF-8), unassigned.
    if unicodedata.category(char)[0] != "C" and char not in "%\\\u2028\u2029":
        return char
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
