"""The gunicorn worker of the image: limits how long a client may hold one of its threads."""

from __future__ import annotations

import socket
import time
from contextlib import suppress
from functools import partial
from selectors import EVENT_READ
from threading import local
from typing import Any

from gunicorn.workers.gthread import ThreadWorker

from functions.api.watchdog import STOPPING, WATCHDOG, Deadline


class Worker(ThreadWorker):
    """gunicorn's threaded worker with time limits. By itself it waits for clients without end.

    The time for a request's body is limited where it is read (functions/api/http.py).
    """

    head_seconds = 10.0  # for the request line and the headers
    linger_seconds = 2.0  # for the client to close its side of the connection
    send_seconds = 60.0  # for one piece of the answer, which is 1 MiB of a file or all of a JSON text

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[no-untyped-call]
        self._of_thread = local()

    def enqueue_req(self, conn: Any) -> None:
        """Serve a connection as soon as it has sent something. gunicorn has a thread wait for a new one."""
        if conn.initialized or conn.data_ready:
            super().enqueue_req(conn)  # type: ignore[no-untyped-call]
            return
        conn.sock.setblocking(False)
        conn.timeout = time.monotonic() + self.head_seconds
        self.pending_conns.append(conn)
        poller: Any = self.poller
        poller.register(conn.sock, EVENT_READ, partial(self.on_pending_socket_readable, conn))

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Take no more requests, and let long answers end."""
        STOPPING.set()
        super().handle_exit(sig, frame)  # type: ignore[no-untyped-call]

    def handle(self, conn: Any) -> Any:
        """Serve one request of a connection, in a thread of the pool."""
        self._of_thread.head = head = Deadline(conn.sock, self.head_seconds)
        self._of_thread.answered = False
        WATCHDOG.add(head)
        try:
            keep: Any = super().handle(conn)  # type: ignore[no-untyped-call]
        finally:
            WATCHDOG.remove(head)
        if keep is False:
            self._half_close(conn.sock)
        return keep

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Answer a request whose head has been read."""
        WATCHDOG.remove(self._of_thread.head)
        conn.sock.settimeout(self.send_seconds)
        keep = super().handle_request(req, conn)  # type: ignore[no-untyped-call]
        self._of_thread.answered = True
        return keep

    def handle_error(self, req: Any, client: Any, addr: Any, exc: BaseException) -> None:
        """Answer a request that gunicorn cannot read. The connection is closed after that.

        gunicorn reads what a handler has left of a body. If that is malformed, the request has its answer already.
        """
        if not self._of_thread.answered:
            super().handle_error(req, client, addr, exc)  # type: ignore[no-untyped-call]

    def _half_close(self, sock: socket.socket) -> None:
        """Wait until the client closes too. gunicorn waits in its main thread, and accepts nothing meanwhile."""
        with suppress(OSError), WATCHDOG.receiving(sock, self.linger_seconds):
            sock.settimeout(None)
            sock.shutdown(socket.SHUT_WR)
            while sock.recv(1 << 16):
                pass
