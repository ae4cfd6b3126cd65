"""HTTP on loopback: serves WSGI apps, each on its own port, and posts messages to them."""

from __future__ import annotations

import json
import re
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import functions

if TYPE_CHECKING:
    from urllib3 import PoolManager

    from functions.local.broker import Answer, Message

LOOPBACK = "127.0.0.1"
_BACKLOG = 512

App = Callable[[Any, Any], Iterable[bytes]]
_METHOD = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")  # a token (RFC 9110, 5.6.2)
_LOOPBACK_NAMES = frozenset({"127.0.0.1", "localhost", "::1"})
_REFUSAL = "pages of other sites may not call this server; call it as 127.0.0.1 or localhost"


class PortTaken(Exception):
    """The port cannot be used. The message tells the user why, and what to do."""


class Server:
    """A threaded server on loopback. It listens at once and answers between start() and stop().

    Port 0 takes a free port. Raises PortTaken.
    """

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            self._socket.bind((LOOPBACK, port))
        except OSError as e:
            self._socket.close()
            raise PortTaken(
                f"port {port} of {LOOPBACK} cannot be used: {e.strerror}; choose another one with --port"
            ) from None
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
            timeout = 60  # seconds that a client may pause; the connection is cut then

            def parse_request(self) -> bool:
                """Refuse what would make werkzeug and http.client raise an error later."""
                parsed = super().parse_request()
                if parsed and not _is_request(self.command, self.path):
                    self.send_error(400, "malformed request line")
                    return False
                return parsed

            def log_request(self, *_: Any) -> None:
                """Log nothing: the functions keep a log of their own, and paths may carry signatures."""

        self._server = make_server(
            LOOPBACK, self.port, refuse_other_sites(app), threaded=True, request_handler=Quiet, fd=self._socket.fileno()
        )
        # Without an interval the server sleeps until a request comes; stop() wakes it with a connection.
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": None}, name=f"server-{self.port}", daemon=True
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests. Does not wait for those under way."""
        if self._server is not None and self._thread is not None:
            stopping = threading.Thread(target=self._server.shutdown)
            stopping.start()
            while stopping.is_alive():
                socket.create_connection((LOOPBACK, self.port)).close()  # wakes the server
                stopping.join(0.01)
            self._thread.join()
            self._server.server_close()
        self._socket.close()


def _is_request(method: str, target: str) -> bool:
    try:
        urlsplit(target)
    except ValueError:
        return False
    return _METHOD.fullmatch(method) is not None


def function(name: str) -> Any:
    """The WSGI app of one of our functions, made by functions-framework."""
    from functions_framework import create_app

    return create_app(name, str(Path(functions.__file__).parent / name / "main.py"))  # type: ignore[no-untyped-call]


def refuse_other_sites(app: App) -> App:
    """Wrap a WSGI app so that it answers 403 to requests of other sites' pages.

    A browser can reach loopback for any page, directly or through a name that resolves to loopback. The functions
    allow every origin, as operator-service does, and a laptop accepts any signature.
    """

    def answer(environ: Any, start_response: Any) -> Iterable[bytes]:
        if _comes_from_this_machine(environ):
            return app(environ, start_response)
        body = json.dumps({"error": _REFUSAL}).encode()
        headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
        start_response("403 FORBIDDEN", headers)
        return [body]

    return answer


def _comes_from_this_machine(environ: Any) -> bool:
    """Whether Host, and Origin if there is one, name loopback."""
    urls = [f"http://{environ.get('HTTP_HOST', '')}"]
    if "HTTP_ORIGIN" in environ:
        urls.append(environ["HTTP_ORIGIN"])
    try:
        return all(urlsplit(url).hostname in _LOOPBACK_NAMES for url in urls)
    except ValueError:
        return False


class Post:
    """Posts messages."""

    def __init__(self, http: PoolManager) -> None:
        self._http = http

    def __call__(self, url: str, message: Message) -> Answer:
        """POST the message once. Raises OSError if no answer comes."""
        from urllib3.exceptions import HTTPError

        from functions.local.broker import Answer

        try:
            answer = self._http.request(
                "POST", url, body=message.body, headers=dict(message.headers), retries=False, redirect=False
            )
        except HTTPError as e:
            raise OSError(type(e).__name__) from None
        return Answer(answer.status, {name.lower(): value for name, value in answer.headers.items()}, answer.data)
