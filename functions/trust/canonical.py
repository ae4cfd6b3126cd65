"""Canonical JSON: the one spelling of a value that digests and signatures are made over (RFC 8785).

Restricted to what `json` spells like RFC 8785: ASCII keys, and strings, booleans, null, integers below 2^53, arrays and
objects as values. Floats are refused, so times are strings and shares are whole percents.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

import msgspec

_LARGEST = 2**53
_PLAIN = frozenset({str, bool, type(None)})
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class NotCanonical(ValueError):
    """The value has no canonical spelling here: a float, a large integer, a key that is not ASCII, a lone surrogate."""


def encode(value: Any) -> bytes:
    """Return the canonical bytes of `value`. Raises NotCanonical."""
    _check(value)
    try:
        return msgspec.json.encode(value, order="sorted")
    except UnicodeEncodeError:
        raise NotCanonical("a string holds a lone surrogate") from None


def digest(value: Any) -> str:
    """Return the sha256 of the canonical bytes, as 64 hex digits. Raises NotCanonical."""
    return hashlib.sha256(encode(value)).hexdigest()


def storable(text: str) -> str:
    """Return the text with U+FFFD in place of NUL and of unpaired surrogates, which no database stores.

    Requests with such text are refused before. What a cluster or a program reports must not stop a workflow.
    """
    return text if text.isascii() and "\0" not in text else _UNSTORABLE.sub("\ufffd", text)


def _check(value: Any) -> None:
    match value:
        case None | bool() | str():
            return
        case int():
            if abs(value) >= _LARGEST:
                raise NotCanonical(f"{value} is not below 2^53; write it as a string")
        case list() | tuple():
            for item in value:
                _check(item)
        case dict():
            for key, item in value.items():
                if not isinstance(key, str) or not key.isascii():
                    raise NotCanonical(f"the key {key!r} is not an ASCII string")
                # Most values need no further look. Each line of a history comes here.
                if type(item) not in _PLAIN and not (type(item) is int and 0 <= item < _LARGEST):
                    _check(item)
        case _:
            raise NotCanonical(f"a value of type {type(value).__name__} has no canonical spelling")
