"""HTTP on loopback: the functions under functions-framework, and plain WSGI apps, each on a port of its own."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import functions
from functions.local.loopback import own_only

if TYPE_CHECKING:
    from urllib3 import PoolManager

    from functions.local.broker import Answer, Message

LOOPBACK = "127.0.0.1"
_BACKLOG = 512


class PortTaken(Exception):
    """The port cannot be had; the message says so to the user."""


class Server:
    """A threaded server on loopback; port 0 takes a free one. Listens at once, answers between start() and stop()."""

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((LOOPBACK, port))
        except OSError as e:
            self._socket.close()
            raise PortTaken(f"port {port} of {LOOPBACK} cannot be used: {e.strerror}; give another one") from None
        self._socket.listen(_BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._server: Any = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def start(self, app: Any) -> None:
        from werkzeug.serving import WSGIRequestHandler, make_server

        class Quiet(WSGIRequestHandler):
            def log_request(self, *_: Any) -> None:
                """Nothing: the functions log what matters, and paths may carry signatures."""

        self._server = make_server(
            LOOPBACK, self.port, own_only(app), threaded=True, request_handler=Quiet, fd=self._socket.fileno()
        )
        # Without an interval it sleeps until there is a request, instead of asking many times a second whether to stop.
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": None}, name=f"server-{self.port}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests; those under way are not waited for."""
        if self._server is not None and self._thread is not None:
            stopping = threading.Thread(target=self._server.shutdown)
            stopping.start()
            while stopping.is_alive():
                socket.create_connection((LOOPBACK, self.port)).close()  # wakes it up
                stopping.join(0.01)
            self._thread.join()
            self._server.server_close()
        self._socket.close()


def function(name: str) -> Any:
    """The app of one of our functions, exactly as functions-framework serves it."""
    from functions_framework import create_app

    return create_app(name, str(Path(functions.__file__).parent / name / "main.py"))  # type: ignore[no-untyped-call]


class Post:
    """Delivers a message over HTTP."""

    def __init__(self, http: PoolManager) -> None:
        self._http = http

    def __call__(self, url: str, message: Message) -> Answer:
        """POST it once. Raises OSError when there is no answer."""
        from urllib3.exceptions import HTTPError

        from functions.local.broker import Answer

        try:
            answer = self._http.request(
                "POST", url, body=message.body, headers=dict(message.headers), retries=False, redirect=False
            )
        except HTTPError as e:
            raise OSError(type(e).__name__) from None
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.data)
