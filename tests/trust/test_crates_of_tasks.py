"""The crates of tasks of GA4GH TES, whose outputs are delivered elsewhere."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

from support.api import ADMIN
from support.five_safes_rules import broken
from support.proofs import TASK, entity, finished_task, graph_of, signing_pem, unpacked
from support.tes import tokens_file

from functions.api.ocean.routes import PREFIX
from functions.trust.signing import SigningKey
from functions.trust.verification import Verification

EDITIONS = ("holder", "consumer")


def test_a_task_of_tes_has_a_crate_too(tmp_path: Path) -> None:
    proofs, job = finished_task()
    bag = unpacked(proofs.crate(job), tmp_path)
    graph = graph_of(bag)
    assert broken(graph) == []
    (run,) = entity(graph, "CreateAction")
    assert run["description"] == "wc -l /data/in.csv; python3 -c print(1)"
    assert [image["name"] for image in entity(graph, "ContainerImage")] == [e["image"] for e in TASK["executors"]]
    everything = "".join(path.read_text() for path in bag.rglob("*") if path.is_file())
    for hidden in ("secret-place", "hidden", "somebody"):
        assert hidden not in everything


def test_the_delivered_files_of_a_task_are_named_by_digest_and_not_by_url(tmp_path: Path) -> None:
    proofs, job = finished_task()
    for edition in EDITIONS:
        bag = unpacked(proofs.crate(job, edition), tmp_path / edition)
        told = json.loads((bag / "data/delivered.jsonl").read_text())
        assert told == {"path": "/data/out.csv", "sha256": "aa" * 32, "size": 3}
        assert entity(graph_of(bag), "CreateAction")[0]["result"] == {"@id": "delivered.jsonl"}
    bundle = proofs.attestation(job)
    release = json.loads(base64.b64decode(json.loads(bundle.splitlines()[0])["payload"]))
    assert {"name": "/data/out.csv", "digest": {"sha256": "aa" * 32}} in release["subject"]
    assert "PROVEN the holder of the key states this bag and each of its 1 released files" in verified(bag, bundle)
    list_of_files = bag / "data/delivered.jsonl"
    list_of_files.write_text(list_of_files.read_text().replace("aa", "bb"))
    assert "BROKEN the statement is not about /data/out.csv of this bag" in verified(bag, bundle)
    list_of_files.write_text("[]")
    assert "BROKEN data/delivered.jsonl is not a list of files" in verified(bag, bundle)


def verified(bag: Path, bundle: str) -> str:
    read = {
        path.relative_to(bag).as_posix(): lambda path=path: [path.read_bytes()]
        for path in bag.rglob("*")
        if path.is_file()
    }
    steps = Verification(read).steps(bundle, SigningKey(signing_pem().encode()).public, None, None)
    return "\n".join(f"{step.outcome.name} {step.text}" for step in steps)


def test_the_owner_of_a_task_gets_its_crate_and_statement_with_the_token(tmp_path: Path) -> None:
    proofs, job = finished_task(tes_tokens_file=tokens_file(tmp_path, "local", "bob", "carol admin"))

    def ask(path: str, name: str, **headers: str) -> Any:
        sent = {"Authorization": f"Bearer token-{name}", **headers}
        return proofs.api.get(path, {"jobId": job, "edition": "holder"}, headers=sent)

    bag = unpacked(ask("/crate", "local").data, tmp_path / "bag")
    assert bag.name.endswith("-consumer")
    assert ask("/attestation", "local").text == proofs.attestation(job)
    assert [ask("/crate", name).status_code for name in ("carol", "bob", "nobody")] == [200, 404, 401]
    assert ask("/crate", "bob", **ADMIN).headers["Content-Disposition"].endswith('-holder.zip"')
    assert proofs.api.get("/crate", {"jobId": job}).status_code == 400  # nobody


def test_the_owner_of_a_task_gets_no_crate_while_it_is_frozen(tmp_path: Path) -> None:
    proofs, job = finished_task(tes_tokens_file=tokens_file(tmp_path, "local"))
    assert proofs.api.submit.post(f"{PREFIX}/freeze", json={"scope": "all"}, headers=ADMIN).status_code == 200
    sent = {"Authorization": "Bearer token-local"}
    assert proofs.api.get("/crate", {"jobId": job}, headers=sent).status_code == 403
