"""Cold starts stay short because a function imports only what its answer needs. These tests check the imports."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.api import Api, app
from support.statements import statements

from benchmarks import data
from functions.api.auth.tokens import digest
from functions.store.migrate import migrate
from functions.store.sql import SqlStore
from functions.workflow.model import Stage

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
    "opentelemetry",
}
# What only telemetry needs. It is light, but without an endpoint not even that is imported.
OF_TELEMETRY = {"functions.telemetry", "functions.otlp", "functions.api.request_trace", "functions.engine.spans"}

# What only a JWT needs.
HEAVY |= {"jwt", "cryptography"}

DATABASE = "postgresql://nobody@127.0.0.1:1/none"
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


def answered(
    function: str, *, endpoint: str = "", variables: dict[str, str] | None = None, **request: Any
) -> tuple[int | None, set[str]]:
    """The status with which a new process answers, and the heavy modules that it has imported by then."""
    asked = {"function": function, **({"request": request} if request else {})}
    telemetry = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint} if endpoint else {}
    run = subprocess.run(
        [sys.executable, "-c", _ANSWER],
        input=json.dumps(asked),
        env={"DATABASE_URL": DATABASE, "PATH": "", **telemetry, **(variables or {})},
        capture_output=True,
        text=True,
        check=True,
    )
    told = json.loads(run.stdout)
    return told["status"], (HEAVY | OF_TELEMETRY) & set(told["modules"])


@pytest.mark.parametrize("function", ["submit", "advance", "status"])
def test_a_function_starts_without_what_only_some_requests_need(function: str) -> None:
    assert answered(function) == (None, set())


def test_an_event_that_changes_nothing_imports_neither_database_nor_cluster() -> None:
    event: dict[str, Any] = {"data": data.uninteresting_event().decode(), "headers": data.event_headers()}
    assert answered("advance", method="POST", path="/", **event) == (204, set())


@pytest.mark.parametrize("path", ["/", "/healthz"])
def test_a_route_without_database_imports_no_database_driver(path: str) -> None:
    assert answered("status", path=path) == (200, set())


def test_a_route_with_database_imports_the_driver_and_nothing_else() -> None:
    status, modules = answered("status", path="/api/v1/operator/environments")
    assert (status, modules) == (503, {"psycopg2"})


@pytest.mark.parametrize(
    "path", ["/ga4gh/tes/v1/tasks/7", "/ga4gh/tes/v1/tasks?name_prefix=a", "/ga4gh/tes/v1/tasks/7?view=FULL"]
)
def test_a_read_of_tes_imports_the_driver_and_nothing_else(path: str) -> None:
    assert answered("status", path=path, variables={"SLUICE_OPEN_TES": "1"}) == (503, {"psycopg2"})


def test_a_token_of_the_file_imports_no_library_for_jwts(tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text(f"{digest('secret')} alice\n")
    asked: dict[str, Any] = {"path": "/ga4gh/tes/v1/tasks/7", "headers": {"Authorization": "Bearer secret"}}
    assert answered("status", variables={"TES_TOKENS_FILE": str(file)}, **asked) == (503, {"psycopg2"})


def test_with_an_endpoint_a_function_starts_as_before_and_its_answer_imports_no_sdk() -> None:
    """The thread of telemetry imports the SDK after the answer; the process here ends before that."""
    assert answered("status", endpoint="http://127.0.0.1:1") == (None, set())
    status, modules = answered("status", endpoint="http://127.0.0.1:1", path="/")
    assert status == 200
    assert modules - {"opentelemetry", "functions.otlp"} == {"functions.telemetry", "functions.api.request_trace"}


def test_a_transition_sends_the_same_statements_with_telemetry_and_without(tmp_path: Path) -> None:
    def sent(name: str, **settings: str) -> list[str]:
        database = f"sqlite:///{tmp_path}/{name}.db"
        migrate(database)
        store = SqlStore(database)
        api = Api(app(store, results_url=f"file://{tmp_path}", **settings))
        with closing(store), statements(store) as found:
            job = api.start()["jobId"]
            api.end_stage(job, Stage.CONFIGURE)
            api.end_stage(job, Stage.ALGORITHM)
        return [statement for statement, _ in found]

    plain = sent("plain")
    assert sent("observed", otlp_endpoint="http://127.0.0.1:1") == plain
    assert len(plain) > 10
