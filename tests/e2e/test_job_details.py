"""An algorithm written with the PyPI package `oceanprotocol-job-details` runs unchanged.

It looks at /data, where Ocean has the volume: only a sandbox can show it there.
"""

from __future__ import annotations

import json
import sys

import pytest
from support.datahost import DataHost, File, Held
from support.laptop import Laptop

from functions.local.isolation import Isolation, probe

pytestmark = [
    pytest.mark.xdist_group("e2e"),
    pytest.mark.skipif(probe() is not Isolation.SANDBOX, reason="no sandbox on this machine, so no /data to look at"),
]

ALGORITHM = """
import json
from oceanprotocol_job_details import load_parametrized_job_details
from pydantic import BaseModel

class Parameters(BaseModel):
    threshold: int
    names: list[str]

details = load_parametrized_job_details(Parameters, {"base_dir": "/data"})
seen = {
    "inputs": sorted([did, path.name, path.read_text()] for did, path in details.inputs()),
    "dids": [each.did for each in details.files],
    "names": {did: ddo.metadata.name for did, ddo in details.metadata.items()},
    "parameters": details.input_parameters.model_dump(),
    "own text": details.paths.algorithm.read_text() == open(__file__).read(),
    "secret": len(details.secret.get_secret_value()) > 0,
}
(details.paths.outputs / "seen.json").write_text(json.dumps(seen))
(details.paths.logs / "own.log").write_text("seen")
"""


def ddo(did: str, name: str) -> File:
    about = {"name": name, "description": "of a test", "type": "dataset", "author": "me", "license": "CC0"}
    return File(Held(json.dumps({"id": did, "metadata": about}).encode()))


def test_the_package_finds_data_metadata_parameters_and_secret(laptop: Laptop) -> None:
    with DataHost() as host:
        host.routes |= {"/a": File(Held(b"one")), "/b": File(Held(b"two")), "/c": File(Held(b"three"))}
        host.routes |= {"/api/aquarius/assets/ddo/did:op:aa": ddo("did:op:aa", "Penguins")}  # of bb there is none
        algorithm = {
            "container": {"entrypoint": f"{sys.executable} $ALGO", "image": "python", "tag": "3.12"},
            "rawcode": ALGORITHM,
            "id": "did:op:algo",
            "algocustomdata": {"threshold": 3, "names": ["x", "ü"]},
        }
        inputs = [
            {"index": 0, "id": "did:op:aa", "url": [f"{host.url}/a", f"{host.url}/b"]},
            {"index": 1, "id": "did:op:bb", "url": [f"{host.url}/c"]},
        ]
        stage = {"index": 0, "input": inputs, "compute": {}, "algorithm": algorithm}
        job = laptop.submit({"stages": [{**stage, "output": {"metadataUri": host.url}}]})
        info = laptop.finished(job)
    assert info["status"] == 70, laptop.result(job, "algorithm.log").decode()
    assert json.loads(laptop.result(job, "seen.json")) == {
        "inputs": [["aa", "0", "one"], ["aa", "1", "two"], ["bb", "0", "three"]],
        "dids": ["aa", "bb"],
        "names": {"aa": "Penguins", "bb": "bb"},
        "parameters": {"threshold": 3, "names": ["x", "ü"]},
        "own text": True,
        "secret": True,
    }
    assert laptop.result(job, "own.log") == b"seen"
