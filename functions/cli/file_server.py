"""Serves the files that a document names, and no others, on loopback while `sluice run` runs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from functions.local.serve import Server


@contextmanager
def shelf() -> Iterator[Shelf]:
    server = Server()
    try:
        yield Shelf(server)
    finally:
        server.stop()


class Shelf:
    """An address from the start; it answers once it is filled."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self.url = server.url

    def fill(self, files: Mapping[str, Path]) -> None:
        """Serve `files`, by the path of their URL."""
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
