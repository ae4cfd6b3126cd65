"""What a served function has to tell arrives, also if the function ends right after its answer."""

from __future__ import annotations

import urllib.request
from pathlib import Path

from support.otlp_receiver import receiving
from support.served import one_served

from functions.store.migrate import migrate


def test_a_function_that_ends_right_after_its_answer_has_told_of_it(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/sluice.db"
    migrate(database)
    with receiving() as receiver:
        settings = {
            "DATABASE_URL": database,
            "SLUICE_CLUSTER": "memory",
            "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20for-the-receiver",
            "K_SERVICE": "status",
        }
        with one_served("status", **settings) as (port, process):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/v1/operator/environments", timeout=20) as answer:
                assert answer.status == 200
            process.terminate()
            process.wait(20)
    (span,) = receiver.named("GET /api/v1/operator/environments")
    assert span.attributes["http.response.status_code"] == 200
    assert receiver.resource["faas.name"] == "status"
    assert {headers["authorization"] for _, headers, _ in receiver.requests} == {"Bearer for-the-receiver"}
