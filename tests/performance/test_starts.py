"""Cold starts stay short because a function imports only what its answer needs. These tests check the imports."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from benchmarks import data

# Each costs 5 to 300 ms (docs/performance.md).
HEAVY = {
    "sqlalchemy",
    "psycopg2",
    "sqlite3",
    "alembic",
    "kubernetes",
    "obstore",
    "urllib3",
    "yaml",
    "coincurve",
    "rich",
}

_ANSWER = """
import json, sys
from importlib import import_module
from werkzeug.test import Client
asked = json.load(sys.stdin)
function = import_module(f"functions.{asked['function']}.main")
status = None
if "request" in asked:
    from werkzeug.wrappers import Request
    app = Request.application(getattr(function, asked["function"]))
    status = Client(app).open(**asked["request"]).status_code
print(json.dumps({"status": status, "modules": sorted(sys.modules)}))
"""


def answered(function: str, **request: Any) -> tuple[int | None, set[str]]:
    """The status with which a new process answers, and the heavy modules that it has imported by then."""
    asked = {"function": function, **({"request": request} if request else {})}
    run = subprocess.run(
        [sys.executable, "-c", _ANSWER],
        input=json.dumps(asked),
        env={"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(run.stdout)
    return told["status"], HEAVY & set(told["modules"])


@pytest.mark.parametrize("function", ["submit", "advance", "status"])
def test_a_function_starts_without_what_only_some_requests_need(function: str) -> None:
    assert answered(function) == (None, set())


def test_an_event_that_changes_nothing_imports_neither_database_nor_cluster() -> None:
    event = {"data": data.uninteresting_event().decode(), "headers": data.event_headers()}
    assert answered("advance", method="POST", path="/", **event) == (204, set())


@pytest.mark.parametrize("path", ["/", "/healthz"])
def test_a_route_without_database_imports_no_database_driver(path: str) -> None:
    assert answered("status", path=path) == (200, set())


def test_a_route_with_database_imports_the_driver_and_nothing_else() -> None:
    status, modules = answered("status", path="/api/v1/operator/environments")
    assert (status, modules) == (503, {"psycopg2"})
