"""One log of all histories, signed by each sweep: whoever keeps a checkpoint finds a past that was changed."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.api import ADMIN
from support.proofs import ProofApi, held_job, held_proof_api, proof_api, signing_pem, unpacked

from functions.advance.sweep import sweep
from functions.api.ocean.routes import PREFIX
from functions.cli.main import main
from functions.trust import canonical, chain, checkpoint, policy, signing
from functions.trust.checkpoint import Checkpoint, CheckpointInvalid, open_note, sign
from functions.trust.policy import Policies
from functions.trust.signing import SigningKey, pem_of
from functions.trust.verification import Outcome, Verification
from functions.workflow.model import WorkflowId

KEY = SigningKey(signing_pem().encode())
LATER = datetime(2099, 1, 1, tzinfo=UTC)
NEXT = SigningKey(signing_pem(b"\2" * 32).encode())


def head_of(proofs: ProofApi, job: str) -> str:
    state = proofs.api.app.store.state(WorkflowId(job))
    assert state is not None
    return state.head


def proof_of(proofs: ProofApi, head: str, **asked: Any) -> Any:
    answered = proofs.api.get("/log/proof", {"head": head, **asked})
    assert answered.status_code == 200, answered.text
    return answered.json


def note_of(proofs: ProofApi) -> str:
    answered = proofs.api.get("/log/checkpoint")
    assert (answered.status_code, answered.mimetype) == (200, "text/plain")
    return str(answered.text)


def test_a_sweep_logs_new_heads_and_signs_a_checkpoint_that_everybody_may_read() -> None:
    proofs = proof_api()
    assert proofs.api.get("/log/checkpoint").status_code == 404
    job = proofs.finished()
    assert sweep(proofs.api.app)["heads logged"] == 1
    signed = open_note(note_of(proofs), KEY.public)
    assert (signed.origin, signed.size) == ("c2d.example.org/log", 1)
    assert sweep(proofs.api.app)["heads logged"] == 0
    found = proof_of(proofs, head_of(proofs, job))
    assert (found["index"], found["inclusion"], found["consistency"]) == (0, [], [])


def test_a_history_is_in_the_log_as_soon_as_its_statement_is_made() -> None:
    proofs = proof_api()
    job = proofs.finished()
    stated = head_of(proofs, job)
    for _ in range(2):
        proofs.attestation(job)
        assert open_note(note_of(proofs), KEY.public).size == 2
        assert proof_of(proofs, stated)["index"] == 0
        assert proof_of(proofs, head_of(proofs, job))["index"] == 1


def test_a_head_that_is_not_logged_has_no_proof() -> None:
    proofs = proof_api()
    job = proofs.finished()
    sweep(proofs.api.app)
    for head, status in (("ab" * 32, 404), ("x", 400), ("", 400)):
        assert proofs.api.get("/log/proof", {"head": head}).status_code == status
    for start in ("0", "2", "-1", "x", "9" * 30):
        assert proofs.api.get("/log/proof", {"head": head_of(proofs, job), "from": start}).status_code == 400


def test_without_a_key_nothing_is_logged_and_nothing_is_imported() -> None:
    proofs = proof_api()
    object.__setattr__(proofs.api.app.settings, "signing_key", "")
    proofs.finished()
    assert "heads logged" not in sweep(proofs.api.app)


def test_a_sweep_without_a_key_does_not_import_cryptography() -> None:
    code = "import sys, functions.advance.main, functions.advance.sweep; print('cryptography' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "False\n"


def test_while_a_key_is_replaced_both_sign_and_the_old_one_names_the_new_one() -> None:
    proofs = proof_api(earlier_signing_key=signing_pem())
    object.__setattr__(proofs.api.app.settings, "signing_key", signing_pem(b"\2" * 32))
    proofs.finished()
    sweep(proofs.api.app)
    note = note_of(proofs)
    assert open_note(note, NEXT.public) == open_note(note, KEY.public)
    told: Any = proofs.api.get("/log/keys").json
    assert told["keys"] == [pem_of(NEXT.public).decode(), pem_of(KEY.public).decode()]
    assert signing.follow(KEY.public, told["succession"]) == [KEY.public, NEXT.public]
    assert told["verifiers"][0].startswith("c2d.example.org/log+")


# --- what else is in the log --------------------------------------------------------------------------


def in_log(proofs: ProofApi, data: str) -> bool:
    return proofs.api.get("/log/proof", {"head": data}).status_code == 200


def test_each_version_of_a_policy_is_a_leaf_and_the_history_names_the_one_that_counted() -> None:
    proofs = held_proof_api()
    job = held_job(proofs)
    assert sweep(proofs.api.app)["heads logged"] == 2
    (submitted, _), *_ = proofs.api.app.store.history(WorkflowId(job))
    assert in_log(proofs, submitted.facts["policy"])
    assert "heads logged" not in sweep(proofs.api.app)
    (written,) = proofs.api.app.policies.written  # type: ignore[union-attr]
    stricter = replace(written, approvals=written.approvals + 1)
    proofs.api.app.policies = Policies((stricter,))
    assert sweep(proofs.api.app)["heads logged"] == 1
    assert in_log(proofs, policy.digest(policy.of_written(stricter)))


def test_a_freeze_and_its_end_are_leaves_that_their_events_tell() -> None:
    proofs = proof_api(notify_hold_urls=("http://127.0.0.1:1",))
    for method in ("post", "delete"):
        asked = getattr(proofs.api.submit, method)(f"{PREFIX}/freeze", json={"scope": "all"}, headers=ADMIN)
        assert asked.status_code == 200
    told = list(proofs.api.app.store.claim_events(LATER, LATER, 10))
    assert sweep(proofs.api.app)["heads logged"] == 2
    assert [each.kind for each in told] == ["frozen", "unfrozen"]
    for each in told:
        spelled = {"v": 1, "scope": "all", "at": chain.spell_time(each.due_at), "frozen": each.kind == "frozen"}
        assert in_log(proofs, canonical.digest(spelled))


def test_a_key_that_replaces_another_is_a_leaf() -> None:
    proofs = proof_api(earlier_signing_key=signing_pem())
    object.__setattr__(proofs.api.app.settings, "signing_key", signing_pem(b"\2" * 32))
    sweep(proofs.api.app)
    assert in_log(proofs, signing.key_id(NEXT.public).removeprefix("sha256:"))


def test_a_policies_file_that_cannot_be_read_does_not_stop_the_log() -> None:
    proofs = proof_api()
    job = proofs.finished()
    object.__setattr__(proofs.api.app.settings, "policies_file", "/missing.yaml")
    del proofs.api.app.__dict__["policies"]
    done = sweep(proofs.api.app)
    assert (done["failed"], done["heads logged"]) == (1, 1)
    assert in_log(proofs, head_of(proofs, job))


# --- verification ----------------------------------------------------------------------------------


class Logged:
    """Jobs that were logged in two sweeps, with a checkpoint of the first."""

    def __init__(self, folder: Path) -> None:
        self.proofs = proof_api()
        for number in range(3):
            self.proofs.finished(agreementId=f"0x{number}")
        sweep(self.proofs.api.app)
        self.held = note_of(self.proofs)
        job = self.proofs.finished(agreementId="0xmine")
        self.bundle = self.proofs.attestation(job)
        self.archive = self.proofs.crate(job)
        sweep(self.proofs.api.app)
        body = json.loads(base64.b64decode(json.loads(self.bundle.splitlines()[0])["payload"]))
        self.head = body["predicate"]["history"]["head"]
        self.proof = proof_of(self.proofs, self.head, **{"from": 3})
        bag = unpacked(self.archive, folder)
        paths = [path for path in bag.rglob("*") if path.is_file()]
        self.files = {path.relative_to(bag).as_posix(): path.read_bytes() for path in paths}

    def broken(self, proof: Any = None, held: str | None = None) -> list[str]:
        read = {path: lambda content=content: [content] for path, content in self.files.items()}
        steps = list(Verification(read).steps(self.bundle, KEY.public, proof or self.proof, held or self.held))
        assert Outcome.OPEN not in {step.outcome for step in steps}
        return [step.text for step in steps if step.outcome is Outcome.BROKEN]


@pytest.fixture(scope="module")
def logged(tmp_path_factory: pytest.TempPathFactory) -> Logged:
    return Logged(tmp_path_factory.mktemp("bag"))


def test_the_statement_of_a_job_is_proven_to_be_in_the_log_that_one_has_seen_before(logged: Logged) -> None:
    assert logged.broken() == []


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_every_change_of_one_byte_of_a_checkpoint_is_found(data: st.DataObject) -> None:
    note = sign(Checkpoint("c2d.example.org/log", 9, b"\7" * 32), KEY).encode()
    place = data.draw(st.integers(0, len(note) - 1))
    changed = bytearray(note)
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(CheckpointInvalid):
        open_note(bytes(changed).decode("utf-8", "replace"), KEY.public)


def test_a_checkpoint_of_another_key_names_both_keys() -> None:
    note = sign(Checkpoint("c2d.example.org/log", 9, b"\7" * 32), KEY)
    with pytest.raises(CheckpointInvalid) as raised:
        open_note(note, NEXT.public)
    for key in (KEY, NEXT):
        assert "+".join(checkpoint.verifier_key("c2d.example.org/log", key.public).split("+")[:2]) in str(raised.value)


@pytest.mark.parametrize("change", ["index", "inclusion", "consistency", "checkpoint", "missing", "held"])
def test_a_proof_that_was_changed_proves_nothing(logged: Logged, change: str) -> None:
    proof = json.loads(json.dumps(logged.proof))
    if change == "held":  # a log that was written anew, signed with the same key
        other = sign(Checkpoint("c2d.example.org/log", 3, b"\1" * 32), KEY)
        assert logged.broken(held=other)
        return
    if change == "index":
        proof["index"] -= 1
    elif change == "checkpoint":
        proof["checkpoint"] = sign(Checkpoint("c2d.example.org/log", 5, b"\1" * 32), KEY)
    elif change == "missing":
        del proof["inclusion"]
    else:
        proof[change] = ["00" * 32, *proof[change][1:]]
    assert logged.broken(proof=proof)


def test_a_history_that_was_rewritten_after_a_checkpoint_is_found() -> None:
    """Whoever owns the database and the key can write a new log, but not one that begins with the checkpoint."""
    honest, forged = proof_api(), proof_api()
    honest.finished()
    forged.failed()
    for proofs in (honest, forged):
        sweep(proofs.api.app)
    seen, shown = open_note(note_of(honest), KEY.public), open_note(note_of(forged), KEY.public)
    assert seen.size == shown.size
    assert seen.root != shown.root


def test_sluice_verify_proves_the_place_in_the_log(logged: Logged, tmp_path: Path) -> None:
    contents = {
        "run.zip": logged.archive,
        "run.intoto.jsonl": logged.bundle.encode(),
        "holder.pem": pem_of(KEY.public),
        "proof.json": json.dumps(logged.proof).encode(),
        "kept.txt": logged.held.encode(),
    }
    for name, content in contents.items():
        (tmp_path / name).write_bytes(content)
    options = {"attestation": "run.intoto.jsonl", "key": "holder.pem", "proof": "proof.json", "checkpoint": "kept.txt"}
    given = [part for name, file in options.items() for part in (f"--{name}", str(tmp_path / file))]
    ended = CliRunner().invoke(main, ["verify", str(tmp_path / "run.zip"), *given])
    assert ended.exit_code == 0, ended.output
    assert "not checked" not in ended.output
    assert "begins with the 3 leaves of your checkpoint" in ended.output
    (tmp_path / "proof.json").write_text(json.dumps({**logged.proof, "consistency": []}))
    ended = CliRunner().invoke(main, ["verify", str(tmp_path / "run.zip"), *given])
    assert (ended.exit_code, "does not lead from your checkpoint of 3 leaves" in ended.output) == (1, True)


def test_one_leaf_is_spelled_as_one() -> None:
    note = sign(Checkpoint("c2d.example.org/log", 1, b"\1" * 32), KEY)
    found = Verification({}).consistency({"checkpoint": note}, KEY.public, note)
    assert "begins with the 1 leaf of your checkpoint" in found


def test_the_verifier_key_is_spelled_as_witnesses_read_it() -> None:
    name, hash_, key = checkpoint.verifier_key("c2d.example.org/log", KEY.public).split("+", 2)
    assert (name, len(hash_), base64.b64decode(key)) == ("c2d.example.org/log", 8, b"\1" + KEY.public)


def test_the_history_route_still_shows_each_line(logged: Logged) -> None:
    job = logged.files["data/history.jsonl"].splitlines()[0]
    shown: Any = logged.proofs.api.get("/history", {"jobId": json.loads(job)["job"]}, headers=ADMIN)
    assert [each["event"] for each in shown.json][-1] == "attested"
