"""A fake server for the command line: a test sets its answers, and reads the requests it received."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from click.testing import Result

API = "/api/v1/operator"
OWNER = "0xOwner"
KEY = "0x" + "11" * 32
Sluice = Callable[..., Result]  # runs the command with these arguments


def job(id: str = "job1", status: int = 70, **more: Any) -> dict[str, Any]:
    """A status object."""
    return {
        "agreementId": "0x1",
        "jobId": id,
        "owner": OWNER,
        "status": status,
        "statusText": {1: "Warming up", 40: "Running algorithm ", 41: "Algorithm failed", 70: "Job finished"}[status],
        "dateCreated": "1700000000.000000",
        "dateFinished": "1700000002.500000" if status in (41, 70) else None,
        "results": "",
        "stopreq": 0,
        "removed": 0,
        "algoDID": "raw",
        "inputDID": [],
        **more,
    }


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    params: Mapping[str, Any]
    headers: Mapping[str, str]


@dataclass
class FakeApi:
    """The answers of the fake server, and the requests it received."""

    answers: dict[tuple[str, str], tuple[int, Any]] = field(default_factory=dict)
    results: list[tuple[str, bytes]] = field(default_factory=list)
    etag: str | None = None  # sent instead of the correct one
    cuts: list[int] = field(default_factory=list)  # bytes after which the next downloads of a result break off
    ranges: bool = True
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    def put(self, method: str, path: str, value: Any, status: int = 200) -> None:
        self.answers[method, path] = (status, value)

    def publish(self, *files: tuple[str, bytes], type: str = "output") -> None:
        """Make `job1` a finished job with these results."""
        self.results = list(files)
        listed = [{"filename": name, "filesize": len(content), "type": type} for name, content in files]
        self.put("GET", "/compute", [job(results=listed)])

    def of(self, path: str) -> list[Asked]:
        return [asked for asked in self.asked if asked.path == path]


def server(api: FakeApi) -> ThreadingHTTPServer:
    class Handler(_Handler):
        fake = api

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    api.url = f"http://127.0.0.1:{made.server_port}"
    return made


class _Handler(BaseHTTPRequestHandler):
    fake: FakeApi

    def do_GET(self) -> None:
        app = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        params = dict(parse_qsl(app.query)) or (json.loads(body) if body else {})
        path = app.path.removeprefix(API)
        self.fake.asked.append(Asked(self.command, path, params, dict(self.headers)))
        if path == "/getResult":
            self._result(self.fake.results[int(params["index"])][1])
            return
        status, value = self.fake.answers.get((self.command, path), (404, {"error": "no such path"}))
        content = value if isinstance(value, bytes) else json.dumps(value).encode()
        self._send(status, {"Content-Length": str(len(content))}, content)

    do_PUT = do_POST = do_DELETE = do_GET

    def log_message(self, *_: Any) -> None:
        """Quiet."""

    def _result(self, content: bytes) -> None:
        etag = self.fake.etag or hashlib.sha256(content).hexdigest()
        headers = {"ETag": f'"{etag}"'}
        if self.headers.get("If-None-Match") == f'"{etag}"':
            self._send(304, headers, b"")
            return
        start = int((self.headers.get("Range") or "bytes=0-").removeprefix("bytes=").removesuffix("-"))
        start = start if self.fake.ranges else 0
        body = content[start:]
        cut = self.fake.cuts.pop(0) if self.fake.cuts else len(body)
        self._send(206 if start else 200, {**headers, "Content-Length": str(len(body))}, body[:cut])
        self.close_connection = True

    def _send(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
