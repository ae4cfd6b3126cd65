"""A client of GA4GH TES."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

from functions.cli.http_client import HttpClient

RUNNING = ("QUEUED", "INITIALIZING", "RUNNING", "PAUSED", "CANCELING")


class TesClient(HttpClient):
    """Talks to one server with one token. Its methods return parsed JSON."""

    prefix = "/ga4gh/tes/v1"

    def __init__(self, url: str, token: str = "") -> None:
        super().__init__(url, {"Authorization": f"Bearer {token}"} if token else {})

    def create(self, task: Any) -> str:
        """Create a task. Returns its id."""
        return str(self._json("POST", "/tasks", json=task)["id"])

    def task(self, id: str, view: str) -> Any:
        return self._json("GET", f"/tasks/{quote(id, safe='')}", fields={"view": view})

    def tasks(self, limit: int, filters: list[tuple[str, str]]) -> Iterator[Any]:
        """Yield the newest tasks that match the filters, at most `limit`, page by page."""
        token = ""
        while limit > 0:
            fields = [("view", "BASIC"), ("page_size", str(min(limit, 256))), ("page_token", token), *filters]
            page = self._json("GET", "/tasks?" + urlencode(fields))
            yield from page["tasks"][:limit]
            limit -= len(page["tasks"])
            token = page.get("next_page_token", "")
            if not token:
                return

    def cancel(self, id: str) -> None:
        self._json("POST", f"/tasks/{quote(id, safe='')}:cancel")


def has_ended(task: Any) -> bool:
    """Whether a task's state is final."""
    return task["state"] not in RUNNING
