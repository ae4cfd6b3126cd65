"""Reads a response that may stay silent for long, without losing the connection and without waiting for ever."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import urllib3

SILENCE = 1.0  # seconds without a chunk until b"" is yielded
_CHUNK = 1 << 16
_AHEAD = 4  # chunks that are read before anybody asks for them


def chunks(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield what arrives, and b"" after each SILENCE. Close the iterator to end the response.

    A read with a time-out of its own would end the connection, so a thread waits for the bytes. Raises what it raises.
    """
    arrived: queue.Queue[bytes | Exception | None] = queue.Queue(_AHEAD)
    reader = threading.Thread(target=_read, args=(response, arrived), name="follow-log", daemon=True)
    reader.start()
    try:
        while (chunk := _next(arrived)) is not None:
            if isinstance(chunk, Exception):
                raise chunk
            yield chunk
    finally:
        _end(response, reader, arrived)


def _read(response: urllib3.BaseHTTPResponse, arrived: queue.Queue[bytes | Exception | None]) -> None:
    last: Exception | None = None
    try:
        while chunk := response.read1(_CHUNK):
            arrived.put(chunk)
    except Exception as e:  # whatever it is, the one who follows gets it
        last = e
    arrived.put(last)


def _next(arrived: queue.Queue[bytes | Exception | None]) -> bytes | Exception | None:
    try:
        return arrived.get(timeout=SILENCE)
    except queue.Empty:
        return b""


def _end(
    response: urllib3.BaseHTTPResponse, reader: threading.Thread, arrived: queue.Queue[bytes | Exception | None]
) -> None:
    """End the reader, wherever it waits, and close the connection: the rest of the body is not wanted."""
    with suppress(ValueError, RuntimeError, OSError):  # the response has ended by itself
        response.shutdown()
    while reader.is_alive():
        with suppress(queue.Empty):
            arrived.get_nowait()
        reader.join(0.01)
    response.close()
