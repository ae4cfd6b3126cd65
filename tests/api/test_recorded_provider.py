"""The real Provider's recorded requests, over real HTTP, against the functions as the image serves them."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import pytest
from support.api import ADMIN, API, DOCUMENT, KEY, OTHER_KEY
from support.served import served

from functions import ethereum
from functions.engine.app import App
from functions.settings import Settings
from functions.workflow.model import Manifest, Outcome, ResultFile, Stage, WorkflowId
from functions.workflow.observation import StageEnded

RECORDED = [
    json.loads(line) for line in (Path(__file__).parents[1] / "data/provider-requests.jsonl").read_text().splitlines()
]
ENVIRONMENTS = json.dumps(
    [
        {"id": "ocean-compute", "maxJobs": 100, "consumerAddress": "0x" + "ab" * 20, "priceMin": 1},
        {"id": "elsewhere", "allowedChainId": [1]},
    ]
)
CONTENT = b"a,b\n1,2\n"
Answer = tuple[int, Message, bytes]


@dataclass
class Running:
    """Both functions and their record."""

    ports: Mapping[str, int]
    record: App

    def call(self, function: str, method: str, target: str, headers: Mapping[str, str], body: Any = None) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[function], timeout=20)
        try:
            connection.request(method, target, body, dict(headers))
            answered = connection.getresponse()
            return answered.status, answered.headers, answered.read()
        finally:
            connection.close()

    def send(self, recorded: Mapping[str, Any], key: str = KEY, **other: str) -> Answer:
        """The recorded request, with a fresh nonce and signature, and with `other` parameters."""
        function = "status" if recorded["method"] == "GET" else "submit"
        url = urlsplit(recorded["target"])
        params = recorded["body"] or dict(parse_qsl(url.query))
        params = {**params, **other}
        if "nonce" in params:
            nonce = time.time_ns()
            message = f"{params['owner']}{params.get('jobId', '')}{nonce}"
            params |= {"nonce": nonce, "providerSignature": ethereum.sign(key, message)}
        body = json.dumps(params).encode() if recorded["body"] else None
        target = url.path if recorded["body"] else f"{url.path}?{urlencode(params)}"
        return self.call(function, recorded["method"], target, recorded["headers"], body)

    def finish(self, job: str, result: Path) -> None:
        """The stages end, and publish has published one file."""
        file = ResultFile("outputs/a.csv", len(CONTENT), "output", result.as_uri(), content_type="text/csv")
        for stage in (Stage.CONFIGURE, Stage.ALGORITHM, Stage.PUBLISH):
            manifest = Manifest((file,)) if stage is Stage.PUBLISH else None
            seen = StageEnded(stage, 1, None, Outcome.SUCCEEDED, 0, manifest=manifest)
            self.record.transitions.apply(WorkflowId(job), seen, "test")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("served")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    (folder / "environments.yaml").write_text(ENVIRONMENTS)
    (folder / "results").mkdir()
    environ = {
        "DATABASE_URL": f"sqlite:///{folder}/sluice.db",
        "SLUICE_CLUSTER": "memory",
        "RESULTS_URL": f"file://{folder}/results",
        "ENVIRONMENTS_FILE": f"{folder}/environments.yaml",
        "ALLOWED_PROVIDERS": json.dumps([ethereum.address(KEY)]),
        "ALLOWED_ADMINS": '["myAdminPass"]',
        "THREADS": "8",
    }
    with served("submit", "status", **environ) as ports:
        functions = Running(ports, App(Settings.load(environ)))
        upgraded = functions.call("submit", "POST", f"{API}/pgsqlinit", ADMIN)
        assert (upgraded[0], upgraded[2]) == (200, b""), "the database comes to be over HTTP"
        yield functions


def test_each_recorded_request_gets_the_answer_of_the_contract(running: Running, folder: Path) -> None:
    environments, start, status, stop, delete, result = RECORDED
    code, headers, body = running.send(environments)
    assert (code, headers["Content-type"]) == (200, "application/json")
    assert [offer["id"] for offer in json.loads(body)] == ["ocean-compute"]
    assert body.startswith(b'[{"id": "ocean-compute", "cpuNumber": 1, "cpuType": "", "gpuNumber": 0, ')

    code, headers, body = running.send(start)
    assert (code, headers["Access-Control-Allow-Origin"]) == (200, "*")
    (job,) = json.loads(body)
    first = {
        "agreementId": start["body"]["agreementId"],
        "jobId": job["jobId"],
        "owner": start["body"]["owner"],
        "status": 1,
        "statusText": "Warming up",
        "dateCreated": job["dateCreated"],
        "dateFinished": None,
        "results": "",
        "stopreq": 0,
        "removed": 0,
        "algoDID": "",
        "inputDID": ["did:op:1"],
    }
    assert body.decode() == json.dumps([first]), "keys, their order, types and separators"
    here = {"jobId": job["jobId"]}
    assert (len(job["jobId"]), int(job["jobId"], 16) > 0, float(job["dateCreated"]) > 0) == (32, True, True)

    code, _, body = running.send(status, **here)
    assert (code, json.loads(body)[0]["status"]) == (200, 20)
    code, _, body = running.send(result, **here)
    assert (code, json.loads(body)) == (404, {"error": f"No results for job {job['jobId']}"})

    (folder / "results/a.csv").write_bytes(CONTENT)
    running.finish(job["jobId"], folder / "results/a.csv")
    code, headers, body = running.send(result, **here)
    assert (code, body, headers["Content-Disposition"]) == (200, CONTENT, "attachment;filename=a.csv")

    code, _, body = running.send(stop, **here)
    assert (code, json.loads(body)[0]["status"], json.loads(body)[0]["stopreq"]) == (200, 70, 0)
    code, _, body = running.send(delete, **here)
    assert (code, json.loads(body)[0]["removed"], json.loads(body)[0]["results"]) == (200, 1, "")


@pytest.mark.parametrize("recorded", RECORDED[1:], ids=lambda r: f"{r['method']} {urlsplit(r['target']).path[17:]}")
def test_each_recorded_request_is_refused_from_another_signer(running: Running, recorded: Mapping[str, Any]) -> None:
    code, _, body = running.send(recorded, OTHER_KEY)
    assert code == 401
    assert json.loads(body)["error"].endswith("is not authorized to use this service.")


@pytest.mark.parametrize("recorded", RECORDED[1:], ids=lambda r: f"{r['method']} {urlsplit(r['target']).path[17:]}")
def test_the_same_parameters_are_taken_from_a_json_body(running: Running, recorded: Mapping[str, Any]) -> None:
    params = recorded["body"] or dict(parse_qsl(urlsplit(recorded["target"]).query))
    headers = {**recorded["headers"], "content-type": "application/json"}
    body = {**params, "agreementId": f"0x{time.time_ns()}"}
    answered = running.send({**recorded, "headers": headers, "body": body})
    assert answered[0] in (200, 404)


def test_a_chunked_body_beyond_the_limit_is_refused_and_the_server_goes_on(running: Running) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"workflow": "'
        for _ in range(20):
            yield b"x" * 100_000
        yield b'"}'

    target, headers = f"{API}/compute", {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
    connection = http.client.HTTPConnection("127.0.0.1", running.ports["submit"], timeout=20)
    connection.request("POST", target, chunks(), headers, encode_chunked=True)
    answered = connection.getresponse()
    assert (answered.status, b"larger than" in answered.read()) == (413, True)
    connection.close()
    assert running.call("submit", "GET", "/healthz", {})[0] == 200


def test_of_many_submissions_at_once_with_one_nonce_exactly_one_passes(running: Running) -> None:
    nonce = time.time_ns()
    owner = "0xA78deb2Fa79463945C247991075E2a0e98Ba7A09"
    signature = ethereum.sign(KEY, f"{owner}{nonce}")

    def submit(number: int) -> int:
        body = {
            "workflow": DOCUMENT,
            "agreementId": f"0xrace{number}",
            "owner": owner,
            "environment": "ocean-compute",
            "nonce": nonce,
            "providerSignature": signature,
        }
        headers = {"Content-Type": "application/json"}
        return running.call("submit", "POST", f"{API}/compute", headers, json.dumps(body))[0]

    with ThreadPoolExecutor(20) as pool:
        codes = sorted(pool.map(submit, range(20)))
    assert codes == [200, *[400] * 19]


def test_a_missing_database_is_a_503_in_json() -> None:
    environ = {"DATABASE_URL": "postgresql://u:secret@127.0.0.1:1/none", "SLUICE_CLUSTER": "memory"}
    with served("status", **environ) as ports:
        code, headers, body = Running(ports, App(Settings.load(environ))).call(
            "status", "GET", f"{API}/environments", {}
        )
    assert (code, headers["Retry-After"]) == (503, "5")
    assert b"secret" not in body
    assert "error" in json.loads(body)
