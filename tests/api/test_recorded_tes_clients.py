"""What other clients of GA4GH TES send to create a task.

The requests were recorded, but for those of Nextflow and Cromwell, which are as their sources say.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.tes import TesApi, tes_app
from support.tes_answers import Checker

FILE = Path(__file__).parents[1] / "data/recorded/tes-requests.jsonl"
REQUESTS = [json.loads(line) for line in FILE.read_text().splitlines()]
NEW_FIELDS = {"ignore_error", "backend_parameters", "backend_parameters_strict", "streamable", "path_prefix"}
IDS = [f"{request['client']} {request['body'].get('name', n)}" for n, request in enumerate(REQUESTS)]


def _without_bucket(request: Any) -> bool:
    return any(output["url"] == "s3://" for output in request["body"].get("outputs") or [])


@pytest.mark.parametrize("request_", REQUESTS, ids=IDS)
def test_a_recorded_task_is_accepted_and_shown_by_the_schema(request_: dict[str, Any]) -> None:
    tes = TesApi(tes_app(large=True))
    answer = tes.post("/tasks", data=json.dumps(request_["body"]), headers=request_["headers"])
    if _without_bucket(request_):
        assert answer.status_code == 400
        assert answer.json["error"].startswith("$.outputs[0].url: expected")
        return
    assert answer.status_code == 200, answer.text
    for view in ("MINIMAL", "BASIC", "FULL"):
        Checker("1.1.0").task(tes.task(answer.json["id"], view), view)


@pytest.mark.parametrize("request_", [each for each in REQUESTS if not _without_bucket(each)])
def test_no_field_is_shown_that_an_old_client_did_not_send(request_: dict[str, Any]) -> None:
    """py-tes 0.4.2, which Snakemake and Toil use, raises on fields of TES 1.1."""
    tes = TesApi(tes_app(large=True))
    id_ = tes.post("/tasks", data=json.dumps(request_["body"]), headers=request_["headers"]).json["id"]
    shown, sent = _names(tes.task(id_)), _names(request_["body"])
    assert shown & NEW_FIELDS <= sent


def _names(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*map(_names, value.values()))
    return set().union(*map(_names, value)) if isinstance(value, list) else set()
