"""Workflows in every state that a proof is about, and what a reader does with a crate."""

from __future__ import annotations

import hashlib
import io
import json
import subprocess
import zipfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.api import ADMIN, OWNER, Api, app
from support.held_api import decide, decision, held, held_api
from support.world import MemoryStorage

from functions.advance.sweep import sweep
from functions.api.auth.principal import LOCAL
from functions.results.ports import Content, NotFound
from functions.submit.new_task import prepare
from functions.trust.chain import PERSON
from functions.workflow.decision import Verdict
from functions.workflow.model import DeliveredFile, FetchedFile, Manifest, Outcome, ResultFile, Stage, WorkflowId
from functions.workflow.observation import StageEnded
from functions.workflow.reported_facts import of_fetched
from functions.workflow.tes_checks import accept

IMAGE = "sha256:" + "cd" * 32
# Ed25519, made for the tests: `openssl genpkey -algorithm ed25519` with the seed of RFC 8032, test 1.
SEED = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
CODE = {"path": "transformations/algorithm", "source": "rawcode", "size": 4, "sha256": "ab" * 32}
DATA = {"path": "inputs/data/0", "source": "https", "size": 7, "sha256": "ef" * 32}
CONTENTS = {"outputs/statistics.csv": b"species,n\nadelie,152\n", "logs/algorithm.log": b"done\n"}


class StoredBytes(MemoryStorage):
    """Results with their bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.contents: dict[str, bytes] = {}

    def put(self, key: str, chunks: Iterable[bytes], size: int, content_type: str) -> str:
        self.contents[f"memory:{key}"] = b"".join(chunks)
        return f"memory:{key}"

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        if file.url not in self.contents:
            raise NotFound
        content = self.contents[file.url]
        return Content(iter([content[start:end]]), len(content), lambda: None)


def signing_pem(seed: bytes = SEED) -> str:
    """A private key in PEM."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.from_private_bytes(seed)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def published(storage: Any, contents: dict[str, bytes]) -> tuple[ResultFile, ...]:
    """What publish leaves in the storage."""
    made = []
    for path, content in contents.items():
        url = storage.put(f"w/1/{path}", iter([content]), len(content), "text/plain")
        sha256, sha512 = hashlib.sha256(content).hexdigest(), hashlib.sha512(content).hexdigest()
        kind = "algorithmLog" if path.startswith("logs/") else "output"
        made.append(ResultFile(path, len(content), kind, url, sha256, "text/plain", sha512=sha512))
    return tuple(made)


@dataclass
class ProofApi:
    """An Api whose deployment signs, and whose stages report what ran."""

    api: Api

    def end(self, job: str, stage: Stage, outcome: Outcome = Outcome.SUCCEEDED, **how: Any) -> None:
        fetched = of_fetched([CODE, DATA]) if stage is Stage.CONFIGURE else {}
        facts = {"image": IMAGE, **fetched, **how.pop("facts", {})}
        state = self.api.app.store.state(WorkflowId(job))
        assert state is not None
        exit_code = how.pop("exit_code", 0 if outcome is Outcome.SUCCEEDED else 3)
        seen = StageEnded(stage, state.attempt, state.job_uid, outcome, exit_code, facts=facts, **how)
        assert self.api.app.transitions.apply(WorkflowId(job), seen, "test") is Verdict.APPLIED

    def finished(self, contents: dict[str, bytes] | None = None, **start: Any) -> str:
        job: str = self.api.start(**start)["jobId"]
        self.end(job, Stage.CONFIGURE)
        self.end(job, Stage.ALGORITHM)
        files = published(self.api.app.storage, CONTENTS if contents is None else contents)
        fetched = tuple(FetchedFile(**each) for each in (CODE, DATA))  # type: ignore[arg-type]
        self.end(job, Stage.PUBLISH, manifest=Manifest(files, fetched=fetched))
        return job

    def failed(self, contents: dict[str, bytes] | None = None) -> str:
        """A job whose algorithm failed; `contents`: what it had written, which leaves too."""
        job: str = self.api.start()["jobId"]
        self.end(job, Stage.CONFIGURE)
        self.end(job, Stage.ALGORITHM, Outcome.FAILED)
        files = published(self.api.app.storage, contents or {})
        self.end(job, Stage.PUBLISH, manifest=Manifest(files))
        return job

    def deleted(self) -> str:
        job = self.finished()
        assert self.api.stop("DELETE", jobId=job).status_code == 200
        return job

    def crate(self, job: str, edition: str = "holder") -> bytes:
        answered = self.api.get("/crate", {"jobId": job, "edition": edition}, headers=ADMIN)
        assert answered.status_code == 200, answered.text
        return bytes(answered.data)

    def own_crate(self, job: str) -> Any:
        return self.api.get("/crate", self.api.signed(f"{OWNER}{job}", owner=OWNER, jobId=job))

    def attestation(self, job: str) -> str:
        answered = self.api.get("/attestation", {"jobId": job}, headers=ADMIN)
        assert answered.status_code == 200, answered.text
        return answered.text


def proof_api(**settings: Any) -> ProofApi:
    made = Api(app(signing_key=signing_pem(), public_url="https://c2d.example.org", **settings))
    made.app.storage = StoredBytes()
    return ProofApi(made)


def held_proof_api(**settings: Any) -> ProofApi:
    """The same, where a policy holds every result."""
    made = held_api(signing_key=signing_pem(), public_url="https://c2d.example.org", **settings)
    made.app.storage = StoredBytes()
    return ProofApi(made)


def held_job(proofs: ProofApi) -> str:
    return held(proofs.api)


def rejected_job(proofs: ProofApi) -> str:
    job = held(proofs.api)
    assert decide(proofs.api, decision(proofs.api, job, verdict="reject")).status_code == 200
    return job


def released_job(proofs: ProofApi) -> str:
    job = held(proofs.api)
    assert decide(proofs.api, decision(proofs.api, job)).status_code == 200
    files = published(proofs.api.app.storage, {"outputs/a.csv": b"n\n12\n", "outputs/b.svg": b"<svg/>"})
    proofs.end(job, Stage.RELEASE, manifest=Manifest(files))
    return job


def unpacked(archive: bytes, folder: Path) -> Path:
    """Unpack a crate and return the bag's folder."""
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        packed.extractall(folder)
    (bag,) = folder.iterdir()
    return bag


def openssl_verifies(folder: Path, pem: bytes, signed: bytes, signature: bytes) -> bool:
    """Whether openssl, which shares no code with us, finds an Ed25519 signature right. It writes into `folder`."""
    (folder / "pub.pem").write_bytes(pem)
    (folder / "signed").write_bytes(signed)
    (folder / "signature").write_bytes(signature)
    command = "openssl pkeyutl -verify -pubin -inkey pub.pem -rawin -in signed -sigfile signature"
    return subprocess.run(command.split(), cwd=folder, capture_output=True).returncode == 0


def logged(proofs: ProofApi) -> dict[str, int]:
    """What a sweep does about one more job."""
    proofs.finished(agreementId=f"0x{proofs.api.app.new_id()}")
    return dict(sweep(proofs.api.app))


def note_of(proofs: ProofApi) -> str:
    return str(proofs.api.get("/log/checkpoint").text)


def graph_of(bag: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((bag / "data/ro-crate-metadata.json").read_text())
    return found


def entity(graph: dict[str, Any], kind: str) -> list[dict[str, Any]]:
    return [each for each in graph["@graph"] if kind in (each["@type"], *each["@type"])]


# --- tasks of GA4GH TES ---------------------------------------------------------------------------

TASK: dict[str, Any] = {
    "name": "count penguins",
    "inputs": [{"name": "penguins", "url": "https://data.example.org/secret-place.csv", "path": "/data/in.csv"}],
    "executors": [
        {"image": "docker.io/library/alpine:3.20", "command": ["wc", "-l", "/data/in.csv"], "env": {"TOKEN": "hidden"}},
        {"image": "python:3.12", "command": ["python3", "-c", "print(1)"]},
    ],
}


DELIVERED = DeliveredFile("s3://bucket/secret-place/out.csv", "/data/out.csv", 3, "aa" * 32)


def finished_task(**settings: Any) -> tuple[ProofApi, str]:
    """A task of two executors that has ended, with its outputs."""
    proofs = proof_api(**settings)
    made = proofs.api.app
    record = prepare(made, accept(TASK), LOCAL, made.environments["ocean-compute"])
    job: Any = made.transitions.submit(record, f"{PERSON}somebody").workflow.id
    proofs.end(job, Stage.CONFIGURE)
    proofs.end(job, Stage.ALGORITHM)
    proofs.end(job, Stage.ALGORITHM, executor=1)
    proofs.end(job, Stage.PUBLISH, manifest=Manifest(delivered=(DELIVERED,)))
    return proofs, job
