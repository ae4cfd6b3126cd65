"""JSON answers in operator-service's form, of any size in little memory."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial
from threading import BoundedSemaphore
from typing import Any

from werkzeug.wrappers import Response

from functions.errors import Unavailable

# So many whole records are read and shown at once, because one with 10 000 files needs up to 90 MB meanwhile.
_AT_ONCE = BoundedSemaphore(2)
_WAIT = 30.0  # seconds until a request gives up
_PIECE = 1 << 16  # bytes


@contextmanager
def large_record() -> Iterator[None]:
    """Hold this while a whole record is read and shown, not while it is sent. Raises Unavailable."""
    if not _AT_ONCE.acquire(timeout=_WAIT):
        raise Unavailable(f"a request waited {_WAIT:g} s to read a large record, because others read theirs")
    try:
        yield
    finally:
        _AT_ONCE.release()


def answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with JSON in operator-service's form: json.dumps' separators, insertion order, floats as strings."""
    return _json(_text(value), status, headers)


def answer_pages(pages: Iterator[Sequence[Any]]) -> Response:
    """Answer with one JSON list of the items of all pages. A large one is sent page by page.

    The first 64 KiB are made before the answer begins. An error after that cuts the connection.
    """
    texts = iter(partial(_next_text, pages), None)
    begun = bytearray()
    for text in texts:
        begun += text
        if len(begun) > _PIECE:
            begun[:2] = b"["  # instead of the first separator
            return _json(_pieces(begun, texts))
    begun[:2] = b"["
    return _json(bytes(begun + b"]"))


def _next_text(pages: Iterator[Sequence[Any]]) -> bytes | None:
    """Return the JSON of the items of the next page, each list after a separator; None if there is no page."""
    with large_record():
        page = next(pages, None)
        if page is None:
            return None
        return b", " + _text(page)[1:-1] if page else b""


def _pieces(begun: bytearray, texts: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the text of a list in small pieces. Nothing large is kept while a slow client takes them."""
    text: bytes | bytearray | None = begun
    begun = bytearray()
    while text is not None:
        yield from (bytes(text[at : at + _PIECE]) for at in range(0, len(text), _PIECE))
        text = None
        text = next(texts, None)
    yield b"]"


def _json(text: bytes | Iterable[bytes], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(text, status, {"Content-type": "application/json", **(headers or {})})


def _text(value: Any) -> bytes:
    return json.dumps(_floats_as_strings(value)).encode()


def _floats_as_strings(value: Any) -> Any:
    if isinstance(value, float | Decimal):
        return str(value)
    if isinstance(value, Mapping):
        return {key: _floats_as_strings(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_floats_as_strings(item) for item in value]
    return value
