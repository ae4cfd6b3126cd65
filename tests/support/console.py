"""A client of the console: what its page sends."""

from __future__ import annotations

import json
from typing import Any

from support.api import ADMIN, Api, Clock
from werkzeug.test import TestResponse

PAGE = {"Sluice-Console": "1", "Sec-Fetch-Site": "same-origin"}
SESSION = "/console/api/session"


def sign_in(api: Api, secret: str = ADMIN["Admin"], headers: dict[str, str] | None = None) -> TestResponse:
    return api.status.post(SESSION, json={"secret": secret}, headers=PAGE if headers is None else headers)


def read(api: Api, path: str, **params: str) -> Any:
    response = api.status.get(f"/console/api/{path}", query_string=params, headers=PAGE)
    assert response.status_code == 200, response.text
    return json.loads(response.text)


def clock(api: Api) -> Clock:
    assert isinstance(api.app.clock, Clock)
    return api.app.clock
