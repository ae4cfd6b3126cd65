"""A loopback server for the files that a document names; `sluice run` serves no others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from functions.local.http_server import Server


@contextmanager
def file_server() -> Iterator[FileServer]:
    server = Server()
    try:
        yield FileServer(server)
    finally:
        server.stop()


class FileServer:
    """Has its `url` at once, because documents are rewritten to it; answers requests after `serve`."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.url = server.url

    def serve(self, files: Mapping[str, Path]) -> None:
        """Start to serve `files`; the keys are URL paths."""
        from werkzeug.exceptions import NotFound
        from werkzeug.utils import send_file
        from werkzeug.wrappers import Request, Response

        @Request.application
        def app(request: Request) -> Any:
            path = files.get(request.path)
            if path is None or not path.is_file():
                return NotFound()
            answer: Response = send_file(path, request.environ, conditional=True)
            return answer

        self._server.start(app)
