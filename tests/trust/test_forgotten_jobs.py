"""An operator forgets a job: what can be read is gone, and what was proven stays provable."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.api import NOW, OWNER
from support.proofs import ProofApi, held_proof_api, proof_api, released_job, signing_pem, unpacked

from functions.advance.sweep import sweep
from functions.cli.main import main
from functions.store.ports import Store
from functions.store.sql import SqlStore
from functions.store.values import Evidence
from functions.trust import chain
from functions.trust.signing import SigningKey
from functions.trust.verification import Outcome, Verification
from functions.workflow.model import WorkflowId

KEY = SigningKey(signing_pem().encode())
TABLES = ("jobs", "stage_attempts", "intents", "tes_tasks", "tes_tags", "holds", "decisions", "policy_runs", "history")


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Iterator[tuple[str, SqlStore]]:
    url = request.getfixturevalue(f"{request.param}_url")
    with closing(SqlStore(url)) as store:
        yield url, store


def forget(url: str, job: str) -> Any:
    return CliRunner().invoke(main, ["forget", job, "--yes"], env={"DATABASE_URL": url})


def contents(store: SqlStore) -> str:
    return repr([dict(row) for table in TABLES for row in store.pool.read(f"SELECT * FROM {table}", {})])


def logged_proof(proofs: ProofApi, statement: str) -> Any:
    body = json.loads(base64.b64decode(json.loads(statement.splitlines()[0])["payload"]))
    return proofs.api.get("/log/proof", {"head": body["predicate"]["history"]["head"]}).json


def test_a_forgotten_job_leaves_nothing_to_read_and_every_proof_whole(
    database: tuple[str, SqlStore], tmp_path: Path
) -> None:
    url, store = database
    proofs = proof_api(store=store)
    job = WorkflowId(proofs.finished(agreementId="0xmine"))
    statement, bag = proofs.attestation(job), unpacked(proofs.crate(job), tmp_path / "bag")
    sweep(proofs.api.app)
    record = store.get(job)
    assert record is not None
    refused = forget(url, job)
    assert (refused.exit_code, "still has results; call `sluice delete`" in refused.output) == (1, True)
    assert proofs.api.stop("DELETE", jobId=job).status_code == 200
    refused = forget(url, job)
    assert (refused.exit_code, "are not in the log yet; try again after" in refused.output) == (1, True)
    sweep(proofs.api.app)
    lines = store.history(job)
    ended = forget(url, job)
    assert (ended.exit_code, ended.output) == (0, f"forgotten: {job}\n")
    assert forget(url, job).exit_code == 2
    kept = contents(store)
    for personal in (OWNER, record.submission.provider, "0xmine", record.submission.secret, record.workflow.salt):
        assert personal
        assert personal.lower() not in kept.lower()
    assert store.history(job) == lines
    made, head = [], chain.genesis(job)
    for line, cause in lines:
        made.append(chain.line(job, line, cause, head))
        head = line.digest
    assert chain.verify(job, made) == head
    paths = [path for path in bag.rglob("*") if path.is_file()]
    read = {path.relative_to(bag).as_posix(): lambda path=path: [path.read_bytes()] for path in paths}
    note = str(proofs.api.get("/log/checkpoint").text)
    steps = list(Verification(read).steps(statement, KEY.public, logged_proof(proofs, statement), note))
    assert {step.outcome for step in steps} == {Outcome.PROVEN}


def test_a_job_is_forgotten_only_when_its_results_are_removed_and_its_history_is_logged(store: Store) -> None:
    proofs = proof_api(store=store)
    job = WorkflowId(proofs.finished())
    sweep(proofs.api.app)
    assert (store.forget(job), store.forget(WorkflowId("nobody"))) == (False, False)
    assert proofs.api.stop("DELETE", jobId=job).status_code == 200
    assert not store.forget(job)  # the line about the removal is not logged
    sweep(proofs.api.app)
    lines = store.history(job)
    assert store.get(job)
    assert store.attempts(job)
    assert store.forget(job)
    assert (store.get(job), store.attempts(job), store.evidence(job)) == (None, [], Evidence())
    assert (store.history(job), store.forget(job)) == (lines, False)


def test_a_job_with_an_event_to_deliver_is_not_forgotten(store: Store) -> None:
    proofs = proof_api(store=store, notify_stop_url="http://127.0.0.1:1")
    job = WorkflowId(proofs.finished())
    assert proofs.api.stop("DELETE", jobId=job).status_code == 200
    sweep(proofs.api.app)
    assert not store.forget(job)
    (event,) = store.claim_events(NOW + timedelta(hours=1), NOW + timedelta(hours=2), 10)
    store.close_event(event)
    assert store.forget(job)


def test_a_forgotten_job_that_was_held_leaves_no_hold_and_no_decision(store: Store) -> None:
    proofs = held_proof_api(store=store)
    job = WorkflowId(released_job(proofs))
    assert proofs.api.stop("DELETE", jobId=job).status_code == 200
    sweep(proofs.api.app)
    assert store.held(job)
    assert store.decisions(job)
    assert store.forget(job)
    assert (store.held(job), list(store.decisions(job))) == (None, [])


def test_a_job_that_runs_and_one_that_nobody_knows_cannot_be_forgotten(database: tuple[str, SqlStore]) -> None:
    url, store = database
    running = forget(url, proof_api(store=store).api.start()["jobId"])
    assert (running.exit_code, "it has not ended" in running.output) == (1, True)
    unknown = forget(url, "nobody")
    assert (unknown.exit_code, "the database has no job nobody" in unknown.output) == (2, True)


def test_forgetting_needs_a_database() -> None:
    ended = CliRunner().invoke(main, ["forget", "job", "--yes"], env={"DATABASE_URL": "", "POSTGRES_HOST": ""})
    assert (ended.exit_code, "DATABASE_URL is not set" in ended.output) == (2, True)
