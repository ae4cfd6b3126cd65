"""An HTTP server on loopback that serves data, well or badly, as a test tells it to."""

from __future__ import annotations

import hashlib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

_BLOCK = bytes(range(251)) * 4096  # a prime period, so that a shifted copy is never the same


@dataclass(frozen=True)
class Pattern:
    """Bytes without end, up to `size`, that need no memory."""

    size: int

    def part(self, start: int, length: int) -> bytes:
        offset = start % 251
        return _BLOCK[offset : offset + min(length, self.size - start, len(_BLOCK) - 251)]

    @property
    def sha256(self) -> str:
        digest, at = hashlib.sha256(), 0
        while at < self.size:
            at += len(piece := self.part(at, 1 << 20))
            digest.update(piece)
        return digest.hexdigest()


class Held(bytes):
    """Content that is at hand, with the same methods as a Pattern."""

    @property
    def size(self) -> int:
        return len(self)

    def part(self, start: int, length: int) -> bytes:
        return bytes(self[start : start + length])


@dataclass
class Seen:
    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Request(BaseHTTPRequestHandler):
    """What a route gets."""

    protocol_version = "HTTP/1.1"
    timeout = 20
    body = b""

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def _any(self) -> None:
        host: DataHost = self.server.host  # type: ignore[attr-defined]
        self.body = self.rfile.read(int(self.headers.get("content-length", 0)))
        headers = {k.lower(): v for k, v in self.headers.items()}
        host.seen.append(Seen(self.command, self.path, headers, self.body))
        route = host.routes.get(self.path.split("?")[0])
        if route is None:
            self.answer(404, b"no such thing")
        else:
            route(self)

    do_GET = do_POST = do_PUT = do_HEAD = _any

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True
        self.connection.shutdown(2)


Route = Callable[[Request], None]


@dataclass
class File:
    """A route that serves `content`, resumable if it has a `validator` (`ETag` or `Last-Modified`).

    `break_after`: bytes of each connection before it is cut. `stall_after`: the same, but it goes silent until the
    client leaves; `stalls` times.
    """

    content: Pattern | Held
    validator: tuple[str, str] | None = ("ETag", '"1"')
    break_after: int | None = None
    stall_after: int | None = None
    stalls: int = 1
    ranges: bool = True
    extra: dict[str, str] = field(default_factory=dict)

    def __call__(self, request: Request) -> None:
        start = self._start(request)
        size = self.content.size
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        request.send_header("Content-Length", str(size - start))
        if self.validator:
            request.send_header(*self.validator)
        for pair in self.extra.items():
            request.send_header(*pair)
        request.end_headers()
        self._send(request, start)

    def _start(self, request: Request) -> int:
        asked = request.headers.get("Range")
        fresh = self.validator is not None and request.headers.get("If-Range") == self.validator[1]
        return int(asked.removeprefix("bytes=").rstrip("-")) if asked and fresh and self.ranges else 0

    def _send(self, request: Request, start: int) -> None:
        at, end = start, self.content.size
        silent = self.stall_after is not None and self.stalls > 0
        limit = self.stall_after if silent else self.break_after
        stop = min(end, start + limit) if limit is not None else end
        while at < stop:
            piece = self.content.part(at, min(1 << 18, stop - at))
            request.wfile.write(piece)
            at += len(piece)
        if at < end:
            if silent:
                self.stalls -= 1
                request.connection.recv(1)  # until the client gives up
            request.hang_up()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves is what many tests are about."""


@dataclass
class DataHost:
    """`with DataHost() as host: host.routes["/a"] = File(…)`; `host.seen` are the requests so far."""

    tls: tuple[str, str] | None = None
    routes: dict[str, Route] = field(default_factory=dict)
    seen: list[Seen] = field(default_factory=list)

    def __enter__(self) -> Self:
        self._server = _Server(("127.0.0.1", 0), Request)
        self._server.host = self  # type: ignore[attr-defined]
        if self.tls:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*self.tls)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def port(self) -> int:
        return int(self._server.server_port)

    @property
    def url(self) -> str:
        return f"{'https' if self.tls else 'http'}://127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        return [seen.path for seen in self.seen]


def only_headers(headers: dict[str, str], body: bytes = b"x", status: int = 200) -> Callable[[Request], None]:
    """A route that sends exactly these headers, then `body`, then hangs up."""

    def answer(request: Request) -> None:
        lines = [f"HTTP/1.1 {status} OK", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        request.wfile.write("\r\n".join(lines).encode("utf-8") + body)
        request.hang_up()

    return answer


def endless(request: Request) -> None:
    """A route that sends bytes until the client hangs up."""
    request.send_response(200)
    request.end_headers()
    while True:
        request.wfile.write(b"x" * 65536)
