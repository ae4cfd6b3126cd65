"""Every route's answer, byte for byte: tests/api/golden/. `UPDATE_GOLDEN=1` writes them anew; read the difference."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
from support.api import ADMIN, API, OWNER, Api, app
from werkzeug.test import TestResponse

from functions.workflow.model import Manifest, ResultFile

GOLDEN = Path(__file__).parent / "golden"
SAME_EVERYWHERE = {"Access-Control-Allow-Origin", "X-Content-Type-Options", "Date", "Last-Modified", "ETag", "Server"}
ROUTES: dict[str, Callable[[Api, str], TestResponse]] = {
    "post-compute": lambda api, job: api.post(api.start_body(agreementId="0xnew")),
    "get-compute": lambda api, job: api.get("/compute", api.signed(OWNER + job, owner=OWNER, jobId=job)),
    "get-compute-unknown": lambda api, job: api.get("/compute", api.signed(f"{OWNER}no", owner=OWNER, jobId="no")),
    "put-compute": lambda api, job: api.submit.put(
        f"{API}/compute", query_string=api.signed(OWNER + job, owner=OWNER, jobId=job)
    ),
    "delete-compute": lambda api, job: api.submit.delete(
        f"{API}/compute", query_string=api.signed(OWNER + job, owner=OWNER, jobId=job)
    ),
    "get-result": lambda api, job: api.get("/getResult", api.signed(OWNER + job, owner=OWNER, jobId=job, index=0)),
    "environments": lambda api, job: api.get("/environments", {"chainId": 8996}),
    "runningjobs": lambda api, job: api.get("/runningjobs", headers=ADMIN),
    "list": lambda api, job: api.get("/list", headers=ADMIN),
    "info": lambda api, job: api.get("/info", {"jobId": job}, headers=ADMIN),
    "logs": lambda api, job: api.get("/logs", {"jobId": job, "component": "configure"}, headers=ADMIN),
    "history": lambda api, job: api.get("/history", {"jobId": job}, headers=ADMIN),
    "dead-letters": lambda api, job: api.get("/dead-letters", headers=ADMIN),
    "pgsqlinit": lambda api, job: api.submit.post(f"{API}/pgsqlinit", headers=ADMIN),
    "index": lambda api, job: api.status.get("/"),
    "docs": lambda api, job: api.status.get("/api/v1/docs/"),
    "healthz": lambda api, job: api.status.get("/healthz"),
    "error-401": lambda api, job: api.get("/list", headers={"Admin": "x"}),
    "error-404": lambda api, job: api.get("/nothing"),
    "error-405": lambda api, job: api.status.post(f"{API}/environments"),
    "error-415": lambda api, job: api.submit.post(f"{API}/compute", data="x", headers={"Content-Type": "text/plain"}),
    "options-compute": lambda api, job: api.submit.options(f"{API}/compute"),
}


@pytest.mark.parametrize("name", ROUTES)
def test_the_answer_of_a_route_equals_its_golden_file(name: str, tmp_path: Path) -> None:
    api = Api(app(results_url=f"file://{tmp_path}", database_url=f"sqlite:///{tmp_path}/sluice.db"))
    storage = api.app.storage
    result = ResultFile(
        "outputs/count.csv", 5, "output", storage.put("j/1/outputs/count.csv", [b"a,b\n1"], 5, "text/csv")
    )
    log_url = storage.put("j/1/adminlogs/configure.log", [b"fetched\n"], 8, "text/plain")
    log = ResultFile("adminlogs/configure.log", 8, "configrationLog", log_url)
    job = api.finished(Manifest((result,), (log,)), agreementId="0xdone")
    api.start(agreementId="0xrunning")
    api.app.store.add_dead_letter(
        "e1", "404", {"attributes": {"id": "e1"}, "object": {}}, datetime(2026, 11, 22, tzinfo=UTC)
    )
    answered = as_text(ROUTES[name](api, job))
    file = GOLDEN / f"{name}.http"
    if os.environ.get("UPDATE_GOLDEN"):
        file.write_text(answered)
    assert answered == file.read_text()


def as_text(response: TestResponse) -> str:
    headers = [f"{name}: {value}" for name, value in response.headers if name not in SAME_EVERYWHERE]
    assert response.headers["Access-Control-Allow-Origin"] == "*"
    return "\n".join([f"HTTP {response.status}", *headers, "", response.text])
