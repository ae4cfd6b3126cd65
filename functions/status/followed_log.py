"""Sends a log while it grows, as text or as server-sent events."""

from __future__ import annotations

import codecs
import json
import select
import time
from collections.abc import Callable, Iterator
from threading import Lock

from werkzeug.wrappers import Response

from functions.api.http import Call, HttpError
from functions.api.watchdog import STOPPING
from functions.status.log_stream import LogStream, Position
from functions.status.requested_log import RequestedLog, published_log

STREAM_SECONDS = 240.0  # of one stream, below the time-outs of gateways; a client goes on with `since`
HEARTBEAT = 15.0  # seconds of silence until a sign of life is sent, and between two checks of the reader's rights
EVENTS = "text/event-stream"
TEXT = "text/plain; charset=utf-8"


class _Streams:
    """Counts the open streams of this process: each holds a thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._open = 0

    def open(self, most: int) -> None:
        """Count one more. Raises HttpError 503."""
        with self._lock:
            if self._open >= most:
                raise HttpError(503, f"{most} logs are being followed here; try again soon", {"Retry-After": "5"})
            self._open += 1

    def close(self) -> None:
        with self._lock:
            self._open -= 1


_STREAMS = _Streams()


def followed_log(wanted: RequestedLog, since: Position) -> Response:
    """Answer with the log from a position on, and go on while its stage runs. Raises HttpError 503."""
    call = wanted.call
    stream = LogStream(call.app, wanted.record.workflow.id, wanted.stage, since)
    accepts = call.request.accept_mimetypes
    as_events = EVENTS in accepts.values() if call.request.headers.get("Accept") else False
    pieces = _pieces(wanted, stream, _is_gone(call))
    _STREAMS.open(max(1, call.app.settings.pool_size // 2))
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    body = _events(wanted, stream, pieces) if as_events else pieces
    response = Response(body, 200, headers, content_type=EVENTS if as_events else TEXT)
    response.call_on_close(_STREAMS.close)
    return response


def _pieces(wanted: RequestedLog, stream: LogStream, is_gone: Callable[[], bool]) -> Iterator[bytes]:
    """Yield the log, and b"" at the start and after each HEARTBEAT of silence. Ends after STREAM_SECONDS."""
    began = beat = checked = time.monotonic()
    yield b""  # sends the headers
    for piece in stream:
        now = time.monotonic()
        if now - checked >= HEARTBEAT:
            checked = now
            if not wanted.allowed:
                return
        if piece or now - beat >= HEARTBEAT:
            beat = now
            yield piece
        if now - began >= STREAM_SECONDS or is_gone():
            return
    yield from _rest(wanted, stream)


def _rest(wanted: RequestedLog, stream: LogStream) -> Iterator[bytes]:
    """Yield what was published of a log whose Job was gone too early."""
    record = wanted.call.app.store.get(wanted.record.workflow.id) if stream.missed and wanted.allowed else None
    published = published_log(wanted, record, stream.position.offset) if record else None
    if published is None:
        return
    try:
        for chunk in published.chunks:
            stream.position = Position(stream.position.job, stream.position.offset + len(chunk))
            yield chunk
    finally:
        published.close()


def _events(wanted: RequestedLog, stream: LogStream, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """The pieces as server-sent events.

    `data` is a JSON string, `id` the position behind it. Bytes that are not UTF-8 become lone surrogates, as Python's
    `surrogateescape` makes them. `end` says that nothing more comes; without it, a client connects again.
    """
    decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
    for piece in pieces:
        text = decoder.decode(piece)
        yield _event(stream.position, decoder, text) if text else b": \n\n"
    if stream.over:
        text = decoder.decode(b"", final=True)
        yield _event(stream.position, decoder, text) if text else b""
        yield f"event: end\ndata: {json.dumps({'stage': wanted.stage})}\n\n".encode()


def _event(position: Position, decoder: codecs.IncrementalDecoder, text: str) -> bytes:
    pending = len(decoder.getstate()[0])  # bytes of an incomplete character, which comes with the next piece
    at = Position(position.job, max(0, position.offset - pending))
    return f"id: {at}\ndata: {json.dumps(text)}\n\n".encode()


def _is_gone(call: Call) -> Callable[[], bool]:
    """Return a test of whether the client has closed its connection, or the process is told to end.

    The socket is polled, because a closed connection makes a write fail, and a silent log writes nothing.
    """
    environ = call.request.environ
    sock = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    if sock is None:
        return STOPPING.is_set
    poller = select.poll()
    poller.register(sock, select.POLLRDHUP)
    return lambda: STOPPING.is_set() or bool(poller.poll(0))
