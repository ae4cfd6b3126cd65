"""A client of GA4GH TES on parts of the test's choice, and a client of both functions over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
from support.api import Api, app, environments

from functions.api.auth import tokens
from functions.engine.app import App
from functions.store.ports import Store
from functions.workflow.stage_options import DeliveryOptions, FetchOptions

BASE = "/ga4gh/tes/v1"
HELLO: dict[str, Any] = {"name": "CompTest", "executors": [{"image": "alpine", "command": ["echo", "hello"]}]}


def tes_app(store: Store | None = None, *, large: bool = False, **settings: Any) -> App:
    """Parts with one environment that has no free slot: tasks stay queued. Open, unless a setting says otherwise."""
    made = app(store, **{"open_tes": True, **settings})
    limits: dict[str, Any] = {"cpu_number": 16, "ram_gb": 64, "disk_gb": 100} if large else {}
    delivery = DeliveryOptions(outputs=("s3://b/", "s3://bucket/", "file:///"))
    fetch = FetchOptions(schemes=("http", "https", "file", "s3"))
    common: dict[str, Any] = {"max_jobs": 0, "tes": delivery, "fetch": fetch}
    full = msgspec.structs.replace(environments()["ocean-compute"], **common, **limits)
    made.environments = {full.id: full}
    return made


def tokens_file(folder: Path, *lines: str) -> str:
    """A file that lets `token-NAME` in as NAME; a line may say more, such as `alice admin`."""
    file = folder / "tokens"
    file.write_text("".join(f"{tokens.digest('token-' + line.split()[0])} {line}\n" for line in lines))
    return str(file)


class TesApi:
    """Sends requests of one caller to both functions."""

    def __init__(self, app: App, caller: str = "") -> None:
        self.app = app
        self._api = Api(app)
        self._headers = {"Authorization": f"Bearer token-{caller}"} if caller else {}

    def as_caller(self, caller: str) -> TesApi:
        return TesApi(self.app, caller)

    def post(self, path: str, **about: Any) -> Any:
        headers = {**self._headers, **about.pop("headers", {})}
        return self._api.submit.post(f"{BASE}{path}", headers=headers, **about)

    def get(self, path: str, **query: Any) -> Any:
        return self._api.status.get(f"{BASE}{path}", query_string=query, headers=self._headers)

    def create(self, **task: Any) -> str:
        """Create a task. Returns its id."""
        answer = self.post("/tasks", json={**HELLO, **task})
        assert answer.status_code == 200, answer.text
        (name,) = answer.json
        assert name == "id"
        return str(answer.json["id"])

    def refused(self, body: Any, status: int = 400) -> str:
        """Send a body that is refused. Returns the error."""
        answer = self.post("/tasks", json=body)
        assert answer.status_code == status, answer.text
        return str(answer.json["error"])

    def task(self, id: str, view: str = "FULL") -> dict[str, Any]:
        answer = self.get(f"/tasks/{id}", view=view)
        assert answer.status_code == 200, answer.text
        return dict(answer.json)

    def listed(self, **query: Any) -> list[str]:
        """The ids of one page."""
        answer = self.get("/tasks", **query)
        assert answer.status_code == 200, answer.text
        return [task["id"] for task in answer.json["tasks"]]
