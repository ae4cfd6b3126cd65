"""The published name of a file, whatever the algorithm called it.

A file name is bytes. Published names are text that no terminal, header or path trips over, and unique: bytes that are
not UTF-8, control and invisible characters, `\\` and `%` itself become `%XX`. Percent-decoding gives the bytes back.
"""

from __future__ import annotations

import hashlib
import unicodedata

# A bare `%` comes from no file name, so no algorithm can aim at this folder.
_LONG_NAMES = "%long"
# S3 allows 1024 bytes for a key, file systems 255 for one name; the storage's prefix and the attempt come on top.
_MAX_KEY = 700
_MAX_PART = 200


def published_name(name: bytes) -> str:
    """The published form of one path segment."""
    return "".join(map(_safe, name.decode("utf-8", "surrogateescape")))


def storage_path(path: str) -> str:
    """Where `path` (`outputs/…`) lies in the storage: itself, or a digest where it is too long for some storage."""
    parts = path.split("/")
    if len(path.encode()) <= _MAX_KEY and all(len(part.encode()) <= _MAX_PART for part in parts):
        return path
    return f"{parts[0]}/{_LONG_NAMES}/{hashlib.sha256(path.encode()).hexdigest()}"


def _safe(char: str) -> str:
    if char.isascii() and char.isprintable() and char not in "%\\":
        return char
    # C*: control, format (bidi overrides, zero width), surrogate (here: a byte that is not UTF-8), unassigned.
    if unicodedata.category(char)[0] != "C" and char not in "%\\\u2028\u2029":
        return char
    return "".join(f"%{byte:02X}" for byte in char.encode("utf-8", "surrogateescape"))
