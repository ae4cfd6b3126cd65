"""Who gets a crate, and what happens if the results are not what was published."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.api import ADMIN, API
from support.held_api import KEYS, look
from support.proofs import ProofApi, StoredBytes, held_job, held_proof_api, proof_api, unpacked


@pytest.fixture
def proofs() -> ProofApi:
    return proof_api()


def test_the_owner_gets_the_consumers_edition_and_nobody_else_gets_any(proofs: ProofApi, tmp_path: Path) -> None:
    job = proofs.finished()
    answered = proofs.own_crate(job)
    assert (answered.status_code, answered.mimetype) == (200, "application/zip")
    assert unpacked(answered.data, tmp_path).name.endswith("-consumer")
    assert proofs.api.get("/crate", {"jobId": job}).status_code == 400
    stranger = "0x" + "9" * 40
    signed = proofs.api.signed(f"{stranger}{job}", owner=stranger, jobId=job)
    assert proofs.api.get("/crate", signed).status_code == 404
    assert proofs.api.get("/crate", {"jobId": "unknown"}, headers=ADMIN).status_code == 404
    assert proofs.api.get("/crate", {"jobId": job, "edition": "gold"}, headers=ADMIN).status_code == 400
    assert proofs.api.get("/crate", {}, headers=ADMIN).status_code == 400


def test_a_checker_gets_the_crates_of_jobs_whose_policy_names_them() -> None:
    proofs = held_proof_api()
    job = held_job(proofs)
    assert look(proofs.api, f"/crate?jobId={job}").status_code == 200
    assert look(proofs.api, f"/crate?jobId={job}", KEYS[2]).status_code == 404


def test_frozen_results_leave_in_no_crate_of_their_owner(proofs: ProofApi) -> None:
    job = proofs.finished()
    frozen = proofs.api.submit.post(f"{API}/freeze", json={"scope": "all"}, headers=ADMIN)
    assert frozen.status_code == 200
    assert proofs.own_crate(job).status_code == 403


@pytest.mark.parametrize("damage", ["missing", "altered"])
def test_a_result_that_is_not_what_was_published_cuts_the_connection(proofs: ProofApi, damage: str) -> None:
    job = proofs.finished()
    storage = proofs.api.app.storage
    assert isinstance(storage, StoredBytes)
    url = next(url for url in storage.contents if url.endswith("statistics.csv"))
    if damage == "missing":
        del storage.contents[url]
    else:
        storage.contents[url] = storage.contents[url].replace(b"152", b"153")
    with pytest.raises(Exception, match=r"a result cannot be read|not what was published"):
        proofs.crate(job)
