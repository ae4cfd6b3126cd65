"""A client of GA4GH TES over HTTP that hides nothing: what is sent and what comes are plain JSON."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any

BASE = "/ga4gh/tes/v1"


class TesHttp:
    """Talks to the server at `url`, with `headers` in every request."""

    def __init__(self, url: str, headers: Mapping[str, str] | None = None) -> None:
        self.url = url
        self._headers = dict(headers or {})

    def send(
        self, method: str, path: str, data: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, bytes]:
        """Returns the status and the body. `path` is below the base path."""
        request = urllib.request.Request(
            self.url + BASE + path, data, {**self._headers, **(headers or {})}, method=method
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as e:
            return e.code, e.read()

    def call(self, method: str, path: str, body: Any = None, status: int = 200) -> Any:
        """Send JSON. Returns the JSON of an answer with this status."""
        data = None if body is None else json.dumps(body).encode()
        got, answer = self.send(method, path, data, {"Content-Type": "application/json"})
        assert got == status, answer
        return json.loads(answer)
