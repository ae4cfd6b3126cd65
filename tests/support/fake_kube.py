"""The small Kubernetes API of `kube_objects`: served over HTTP on loopback, or called in this process."""

from __future__ import annotations

import io
import json
import ssl
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import urllib3
from support.kube_answers import QUOTA_CONFLICT, TOKEN, Answer, Fault
from support.kube_objects import KubeObjects

from functions.cluster.kubernetes.access import Access
from functions.cluster.kubernetes.client import Api

__all__ = ["QUOTA_CONFLICT", "FakeKube", "Fault", "LocalApi"]


class FakeKube(KubeObjects):
    """The API over HTTP, served by threads of this process."""

    def __init__(self, tls: Path | None = None, namespace: str = "demo") -> None:
        """`tls`: a folder with kube-api-cert.pem and kube-api-key.pem, for 127.0.0.1."""
        super().__init__(namespace)
        self.closing = threading.Event()
        self.followed = threading.Event()  # set when a log has been followed to its end, or its client has left
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._server.daemon_threads = True
        if tls is not None:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(tls / "kube-api-cert.pem", tls / "kube-api-key.pem")
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        return self._server.server_port

    def close(self) -> None:
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def kubeconfig(self, folder: Path) -> str:
        """A kubeconfig for this server, written below `folder`."""
        path = folder / "kubeconfig"
        cluster = {"name": "fake", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
        context = {"name": "fake", "context": {"cluster": "fake", "user": "fake"}}
        user = {"name": "fake", "user": {"token": TOKEN}}
        config = {"apiVersion": "v1", "kind": "Config", "current-context": "fake"}
        path.write_text(json.dumps({**config, "clusters": [cluster], "contexts": [context], "users": [user]}))
        return str(path)


class LocalApi(Api):
    """A client that calls the API in this process, without HTTP: for tests that make many thousands of calls."""

    def __init__(self, kube: KubeObjects) -> None:
        super().__init__(Access("", lambda: f"Bearer {TOKEN}"), 1)
        self._pool: Any = _LocalPool(kube)


class _LocalPool:
    """The part of urllib3's pool that the client uses."""

    def __init__(self, kube: KubeObjects) -> None:
        self._kube = kube

    def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes | None,
        fields: Mapping[str, str] | None,
        headers: Mapping[str, str],
        **_: Any,
    ) -> urllib3.HTTPResponse:
        query = f"?{urlencode(fields)}" if fields else ""
        answer = self._kube.answer(method, url + query, headers.get("Authorization"), body or b"")
        if answer.status <= 0:
            raise urllib3.exceptions.ProtocolError("the connection was cut")
        return urllib3.HTTPResponse(io.BytesIO(answer.body), dict(answer.headers), answer.status, preload_content=False)


def _handler(server: FakeKube) -> type[_Handler]:
    class Handler(_Handler):
        kube = server

    return Handler


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    kube: FakeKube

    def log_message(self, *_: Any) -> None:
        """Do not log."""

    def handle_any(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        answer = self.kube.answer(self.command, self.path, self.headers["Authorization"], body)
        if "follow=true" in self.path and answer.status == 200:
            self.send_log()
        else:
            self.send(answer)

    do_GET = do_POST = do_DELETE = do_PATCH = handle_any

    def send_log(self) -> None:
        """Send the log chunk by chunk until its container has ended, and the answer after that."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        pod, sent, ended = self.path.split("/")[-2], 0, False
        with suppress(OSError):  # the client has left
            while not ended and not self.kube.closing.is_set():
                ended = self.kube.has_ended(pod)
                again = self.kube.answer("GET", self.path, self.headers["Authorization"], b"")
                if new := again.body[sent:]:
                    self.wfile.write(b"%x\r\n%s\r\n" % (len(new), new))
                    sent += len(new)
                self.kube.closing.wait(0.01)
            if ended:
                self.wfile.write(b"0\r\n\r\n")
        self.close_connection = not ended
        self.kube.followed.set()

    def send(self, answer: Answer) -> None:
        if answer.status < 0:
            self.kube.closing.wait(30)
        if answer.status <= 0:
            self.close_connection = True
            return
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)
