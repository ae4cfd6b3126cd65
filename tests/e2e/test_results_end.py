"""How results end: they expire, and what was encrypted can be read by nobody but the owner of the key."""

from __future__ import annotations

import os

import pyrage
import pytest
from support.laptop import API, OWNER, Laptop, document, until

pytestmark = pytest.mark.xdist_group("e2e")


def test_expired_results_are_removed_and_reported_as_expired(laptop: Laptop) -> None:
    job = laptop.submit(document("echo 1 > $OUTPUTS/a.csv"), environment="short-lived")
    assert laptop.finished(job)["status"] == 70
    until(lambda: laptop.info(job), lambda info: info["expired"])
    # os.walk, because it does not mind what vanishes meanwhile
    until(lambda: [files for _, _, files in os.walk(laptop.folder / "results" / job)], lambda left: not any(left))
    query = f"index=0&owner={OWNER}&jobId={job}"
    status, body = laptop.call("GET", f"{API}/getResult?{query}&{laptop.signed(job)}")
    assert (status, b"have expired" in body) == (410, True)
    assert [line["event"] for line in laptop.history(job)][-1] == "results expired"
    assert laptop.info(job)["status"] == 70  # that it went well stays on record


def test_encrypted_outputs_need_the_secret_key(laptop: Laptop) -> None:
    key = pyrage.x25519.Identity.generate()  # type: ignore[attr-defined]
    workflow = document("echo said; mkdir $OUTPUTS/deep; echo treasure > $OUTPUTS/deep/a.csv")
    workflow["stages"][0]["output"] = {"publicKey": str(key.to_public())}
    job = laptop.submit(workflow)
    info = laptop.finished(job)
    assert {file["filename"] for file in info["results"]} == {"deep/a.csv.age", "algorithm.log"}
    sealed = laptop.result(job, "deep/a.csv.age")
    assert pyrage.decrypt(sealed, [key]) == b"treasure\n"  # type: ignore[attr-defined]
    stored = [path.read_bytes() for path in (laptop.folder / "results" / job).rglob("*") if path.is_file()]
    assert not any(b"treasure" in content for content in stored)
    assert laptop.result(job, "algorithm.log") == b"said\n"  # logs are not data
