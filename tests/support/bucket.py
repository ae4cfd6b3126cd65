"""An S3 server on loopback."""

from __future__ import annotations

import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import localbucket


class _Quiet(localbucket.S3Handler):
    def log_message(self, *args: object) -> None:
        pass


class Bucket(ThreadingHTTPServer):
    """S3 on loopback: a folder per bucket below `root`."""

    daemon_threads = True

    def __init__(self, root: Path) -> None:
        super().__init__(("127.0.0.1", 0), type("Handler", (_Quiet,), {"data_root": root}))
        self.root = root
        self.lock = threading.Lock()

    def handle_error(self, *args: object) -> None:
        """A client that goes away is what some tests are about."""

    @property
    def variables(self) -> dict[str, str]:
        return {
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.server_port}",
            "AWS_DISABLE_BULK_DELETE": "true",
        }
