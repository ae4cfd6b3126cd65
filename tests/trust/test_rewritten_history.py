"""Whoever owns the database, and even the key, rewrites a history after a checkpoint. A kept checkpoint shows it.

The attacker is the database's own administrator: the triggers that refuse a change of the history are dropped first.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace
from support.proofs import ProofApi, proof_api, signing_pem, unpacked

from functions.advance.sweep import sweep
from functions.store.sql import SqlStore
from functions.trust import chain
from functions.trust.signing import SigningKey
from functions.trust.verification import Outcome, Verification
from functions.workflow.model import WorkflowId

KEY = SigningKey(signing_pem().encode())
DROP = {
    "sqlite": ["DROP TRIGGER history_lines_stay_on_update", "DROP TRIGGER history_lines_stay_on_delete"],
    "postgres": ["DROP TRIGGER history_lines_stay ON history", "DROP TRIGGER history_stays ON history"],
}
LOG_TABLES = ("log_leaves", "log_nodes", "log_checkpoints")


@dataclass
class Kept:
    """A logged job, and what a consumer has kept of it: the statement, and a checkpoint of the log."""

    proofs: ProofApi
    store: SqlStore
    dialect: str
    job: WorkflowId
    statement: str
    checkpoint: str
    folder: Path

    def attack(self, *statements: str, **values: Any) -> None:
        """Run SQL as the administrator."""
        with self.store.pool.transaction() as session:
            for statement in statements:
                session.execute(statement, {"job": self.job, **values})

    def proof_of(self, statement: str) -> Any:
        body = json.loads(base64.b64decode(json.loads(statement.splitlines()[0])["payload"]))
        asked = {"head": body["predicate"]["history"]["head"], "from": self.checkpoint.splitlines()[1]}
        return self.proofs.api.get("/log/proof", asked)

    def broken(self, statement: str, proof: Any = None) -> list[str]:
        """What `sluice verify` finds in the crate that the server gives now."""
        bag = unpacked(self.proofs.crate(self.job), self.folder / str(len(list(self.folder.iterdir()))))
        paths = [path for path in bag.rglob("*") if path.is_file()]
        read = {path.relative_to(bag).as_posix(): lambda path=path: [path.read_bytes()] for path in paths}
        steps = Verification(read).steps(statement, KEY.public, proof, self.checkpoint)
        return [step.text for step in steps if step.outcome is Outcome.BROKEN]


@pytest.fixture(params=DROP)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    with closing(SqlStore(request.getfixturevalue(f"{request.param}_url"))) as store:
        proofs = proof_api(store=store)
        for number in range(2):
            proofs.finished(agreementId=f"0x{number}")
        job = WorkflowId(proofs.finished(agreementId="0xmine"))
        statement = proofs.attestation(job)
        sweep(proofs.api.app)
        note = str(proofs.api.get("/log/checkpoint").text)
        (tmp_path / "bags").mkdir()
        made = Kept(proofs, store, request.param, job, statement, note, tmp_path / "bags")
        assert made.broken(statement, made.proof_of(statement).json) == []
        made.attack(*DROP[request.param])
        yield made


def _edit(kept: Kept) -> None:
    kept.attack("UPDATE history SET reason = 'as it should be' WHERE workflow = %(job)s AND step = 3")


def _edit_the_end(kept: Kept) -> None:
    kept.attack(
        "UPDATE history SET status = 41 WHERE workflow = %(job)s AND event <> 'attested' AND after = 'finished'"
    )


def _exchange_facts(kept: Kept) -> None:
    kept.attack(
        "UPDATE history SET facts = replace(facts, %(old)s, %(new)s) WHERE workflow = %(job)s", old="cd", new="ce"
    )


def _remove(kept: Kept) -> None:
    kept.attack("DELETE FROM history WHERE workflow = %(job)s AND step = 3")


def _remove_and_close_the_gap(kept: Kept) -> None:
    _remove(kept)
    for step in range(4, 20):
        kept.attack("UPDATE history SET step = step - 1 WHERE workflow = %(job)s AND step = %(step)s", step=step)
    kept.attack("UPDATE jobs SET step = step - 1 WHERE workflowid = %(job)s")


def _swap(kept: Kept) -> None:
    for old, new in ((2, 99), (3, 2), (99, 3)):
        kept.attack("UPDATE history SET step = %(new)s WHERE workflow = %(job)s AND step = %(old)s", old=old, new=new)


def _add(kept: Kept) -> None:
    kept.attack(
        """
        INSERT INTO history (workflow, step, at, before, after, status, event, reason, attempt, cause, facts, digest)
        SELECT workflow, 50, at, before, after, status, event, reason, attempt, cause, facts, digest FROM history
        WHERE workflow = %(job)s AND step = 3
        """
    )


def _truncate(kept: Kept) -> None:
    """Cut off the last step and the statement about it: what stays is a whole chain."""
    rest = [line for line, _ in kept.store.history(kept.job)][:-2]
    kept.attack("DELETE FROM history WHERE workflow = %(job)s AND step > %(step)s", step=len(rest))
    kept.attack(
        "UPDATE jobs SET step = %(step)s, head = %(head)s WHERE workflowid = %(job)s",
        step=len(rest),
        head=rest[-1].digest,
    )


def _rewrite(kept: Kept) -> None:
    """Change a line and chain everything after it anew: what stays is a whole chain."""
    head = chain.genesis(kept.job)
    for line, cause in kept.store.history(kept.job):
        changed = replace(line, reason="as it should be") if line.step == 3 else line
        head = chain.digest(chain.line(kept.job, changed, cause, head))
        kept.attack(
            "UPDATE history SET reason = %(reason)s, digest = %(head)s WHERE workflow = %(job)s AND step = %(step)s",
            reason=changed.reason,
            head=head,
            step=line.step,
        )
    kept.attack("UPDATE jobs SET head = %(head)s WHERE workflowid = %(job)s", head=head)


BROKEN_CHAIN = (_edit, _edit_the_end, _exchange_facts, _remove, _remove_and_close_the_gap, _swap, _add)
WHOLE_CHAIN = (_truncate, _rewrite)


@pytest.mark.parametrize("attack", BROKEN_CHAIN + WHOLE_CHAIN)
def test_a_changed_history_does_not_match_the_statement_that_was_kept(
    kept: Kept, attack: Callable[[Kept], None]
) -> None:
    proof = kept.proof_of(kept.statement).json
    attack(kept)
    assert kept.broken(kept.statement, proof)


@pytest.mark.parametrize("attack", BROKEN_CHAIN)
def test_a_new_statement_does_not_heal_a_chain_that_is_broken(kept: Kept, attack: Callable[[Kept], None]) -> None:
    """The attacker has the key too, and has the changed history attested."""
    attack(kept)
    answered = kept.proofs.api.get("/attestation", {"jobId": kept.job}, headers={"Admin": "myAdminPass"})
    assert kept.broken(answered.text if answered.status_code == 200 else kept.statement)


def test_a_rewritten_log_does_not_begin_with_the_checkpoint_that_was_kept(kept: Kept) -> None:
    _rewrite(kept)
    kept.attack(*(f"DELETE FROM {table}" for table in LOG_TABLES))
    kept.attack("UPDATE log_size SET size = 0", "UPDATE jobs SET logged_step = 0")
    statement = kept.proofs.attestation(kept.job)
    sweep(kept.proofs.api.app)
    found = kept.proof_of(statement)
    assert found.status_code == 200, found.text
    assert kept.broken(statement, found.json) == [
        "the log does not begin with the log of your checkpoint, so it was changed since"
    ]


@pytest.mark.parametrize("attack", WHOLE_CHAIN)
def test_a_history_that_is_logged_again_leaves_its_first_head_in_the_log(
    kept: Kept, attack: Callable[[Kept], None]
) -> None:
    """Only who holds the first head or statement sees that there are two, and the log cannot lose the first."""
    before = kept.proof_of(kept.statement).json
    attack(kept)
    kept.attack("UPDATE jobs SET logged_step = 0")
    statement = kept.proofs.attestation(kept.job)
    sweep(kept.proofs.api.app)
    assert kept.broken(statement, kept.proof_of(statement).json) == []
    first = kept.proof_of(kept.statement).json
    assert first["index"] == before["index"]
    assert any("statement" in told for told in kept.broken(kept.statement, first))
