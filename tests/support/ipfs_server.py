"""A small IPFS node: the parts of kubo's RPC API that Sluice calls, and a gateway, in memory on loopback.

Content is kept by its digest and collected when neither a pin nor a name in MFS refers to it, as a node does.
"""

from __future__ import annotations

import hashlib
import json
import re
from email.parser import BytesHeaderParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit


class IpfsNode(ThreadingHTTPServer):
    """`pins` maps the CID of a directory to {name: content}; `mfs` maps a path to content."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.pins: dict[str, dict[str, bytes]] = {}
        self.mfs: dict[str, bytes] = {}
        self.answers: dict[str, tuple[int, bytes]] = {}  # to commands that it does not carry out
        self.seen: list[tuple[str, dict[str, str], dict[str, str]]] = []  # command, options, headers

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def content(self, path: str) -> bytes | None:
        cid, _, name = path.partition("/")
        return self.pins.get(cid, {}).get(name)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: IpfsNode

    def log_message(self, *args: Any) -> None:
        pass

    def do_GET(self) -> None:
        content = self.server.content(unquote(urlsplit(self.path).path.removeprefix("/ipfs/")))
        self.server.seen.append(("gateway", {}, dict(self.headers)))
        if content is None:
            return self._send(404, b"no link named so under it")
        ranged = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not ranged:
            return self._send(200, content)
        start, end = int(ranged[1]), int(ranged[2]) + 1 if ranged[2] else len(content)
        part = content[start:end]
        span = f"bytes {start}-{start + len(part) - 1}/{len(content)}"
        return self._send(206, part, {"Content-Range": span})

    def do_POST(self) -> None:
        url = urlsplit(self.path)
        command = url.path.removeprefix("/api/v0/")
        options = {key: values[0] for key, values in parse_qs(url.query).items()}
        self.server.seen.append((command, options, dict(self.headers)))
        body = self._body()
        if command in self.server.answers:
            return self._send(*self.server.answers[command])
        answer = getattr(self, f"_{command.replace('/', '_')}", None)
        if answer is None:
            return self._send(404, b"no such command")
        return answer(options, body)  # type: ignore[no-any-return]

    def _add(self, options: dict[str, str], body: bytes) -> None:
        name, content = self._part(body)
        assert options["wrap-with-directory"] == "true", "the fake only knows wrapped files"
        file = hashlib.sha256(content).hexdigest()
        directory = hashlib.sha256(f"{name}\0{file}".encode()).hexdigest()
        self.server.pins[directory] = {name: content}
        lines = [{"Name": name, "Hash": f"Qm{file}"}, {"Name": "", "Hash": directory}]
        self._send(200, b"".join(json.dumps(line).encode() + b"\n" for line in lines))

    def _cat(self, options: dict[str, str], body: bytes) -> None:
        content = self.server.content(options["arg"])
        if content is None:
            return self._error("no link named so under it")
        start = int(options.get("offset", 0))
        return self._send(200, content[start : start + int(options.get("length", len(content)))])

    def _pin_rm(self, options: dict[str, str], body: bytes) -> None:
        if self.server.pins.pop(options["arg"], None) is None:
            return self._error("not pinned or pinned indirectly")
        return self._send(200, b"{}")

    def _files_write(self, options: dict[str, str], body: bytes) -> None:
        self.server.mfs[options["arg"]] = self._part(body)[1]
        self._send(200, b"")

    def _files_read(self, options: dict[str, str], body: bytes) -> None:
        content = self.server.mfs.get(options["arg"])
        return self._error("file does not exist") if content is None else self._send(200, content)

    def _files_ls(self, options: dict[str, str], body: bytes) -> None:
        folder = options["arg"] + "/"
        below = [path.removeprefix(folder) for path in self.server.mfs if path.startswith(folder)]
        if not below:
            return self._error("file does not exist")
        names = sorted({path.split("/")[0] for path in below})
        return self._send(200, json.dumps({"Entries": [{"Name": name} for name in names]}).encode())

    def _files_rm(self, options: dict[str, str], body: bytes) -> None:
        gone = [path for path in self.server.mfs if path == options["arg"] or path.startswith(options["arg"] + "/")]
        for path in gone:
            del self.server.mfs[path]
        return self._send(200, b"") if gone else self._error("file does not exist")

    def _body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _part(self, body: bytes) -> tuple[str, bytes]:
        boundary = self.headers["Content-Type"].partition("boundary=")[2].encode()
        head, _, rest = body.removeprefix(b"--" + boundary + b"\r\n").partition(b"\r\n\r\n")
        name = BytesHeaderParser().parsebytes(head).get_filename() or ""
        content, found, _ = rest.partition(b"\r\n--" + boundary + b"--\r\n")  # a node takes the first
        assert found, "a form that does not end"
        return unquote(name), content

    def _error(self, message: str) -> None:
        self._send(500, json.dumps({"Message": message, "Code": 0, "Type": "error"}).encode())

    def _send(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
