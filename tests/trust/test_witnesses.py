"""Checkpoints go to witnesses: late, or again after a loss, and never in the way."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.proofs import ProofApi, logged, note_of, proof_api, signing_pem
from support.witness import AT, NAME, WitnessServer, serve

from functions.advance import checkpoint_copies
from functions.advance.sweep import sweep
from functions.cli.main import main
from functions.trust.checkpoint import CheckpointInvalid, Witness, open_note, parse
from functions.trust.signing import SigningKey, pem_of
from functions.variables import SettingsError

KEY = SigningKey(signing_pem().encode())


@pytest.fixture
def witness() -> Iterator[WitnessServer]:
    with serve(WitnessServer(KEY.public)) as served:
        yield served


def watched(witness: WitnessServer) -> ProofApi:
    return proof_api(witnesses=(witness.setting,))


def seen_by(witness: WitnessServer, note: str) -> bool:
    return Witness.parse(witness.verifier_key).saw(note) is not None


def test_the_newest_checkpoint_is_served_with_the_cosignature_of_the_witness(witness: WitnessServer) -> None:
    proofs = watched(witness)
    for size in (1, 2, 3):
        assert logged(proofs)["checkpoints cosigned"] == 1
        note = note_of(proofs)
        assert open_note(note, KEY.public).size == size
        assert seen_by(witness, note)
    assert witness.asked == [200, 200, 200]


def test_a_sweep_without_a_new_checkpoint_asks_nobody(witness: WitnessServer) -> None:
    proofs = watched(witness)
    logged(proofs)
    before = note_of(proofs)
    assert "checkpoints cosigned" not in sweep(proofs.api.app)
    assert (note_of(proofs), witness.asked) == (before, [200])


def test_a_witness_that_was_away_gets_one_proof_over_all_that_it_missed(witness: WitnessServer) -> None:
    proofs = watched(witness)
    logged(proofs)
    witness.away = True
    for _ in range(2):
        done = logged(proofs)
        assert (done["heads logged"], "checkpoints cosigned" in done) == (1, False)
        assert not seen_by(witness, note_of(proofs))
    witness.away = False
    assert logged(proofs)["checkpoints cosigned"] == 1
    assert parse(note_of(proofs)).size == 4
    assert seen_by(witness, note_of(proofs))


def test_a_witness_that_sends_its_answer_byte_by_byte_does_not_hold_up_the_sweep(
    witness: WitnessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoint_copies, "SECONDS", 0.3)
    proofs = watched(witness)
    witness.drips = True
    assert "checkpoints cosigned" not in logged(proofs)
    assert not witness.ended
    witness.drips = False
    assert logged(proofs)["checkpoints cosigned"] == 1


def test_a_cosignature_that_was_lost_on_its_way_is_asked_for_again(
    witness: WitnessServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """We died between the witness's answer and our record of it."""
    proofs = watched(witness)
    with monkeypatch.context() as patched:
        patched.setattr(checkpoint_copies, "_record", lambda *_: 1 / 0)
        logged(proofs)
    assert (witness.seen[0], seen_by(witness, note_of(proofs))) == (1, False)
    assert sweep(proofs.api.app)["checkpoints cosigned"] == 1
    assert witness.asked == [200, 409, 200]
    assert seen_by(witness, note_of(proofs))


@pytest.mark.parametrize(
    "answer",
    [
        (200, ""),
        (200, "no signature\n"),
        (200, f"— {NAME} AAAA\n"),
        (404, ""),
        (409, "x"),
        (409, "²\n"),
        (409, "999\n"),
        (500, "x" * 100_000),
    ],
)
def test_a_witness_that_gives_no_cosignature_stops_nothing_else(
    witness: WitnessServer, answer: tuple[int, str]
) -> None:
    proofs = watched(witness)
    witness.answers = [answer]
    assert logged(proofs)["heads logged"] == 1
    assert note_of(proofs).count("— ") == 1
    assert "postponed" not in logged(proofs)


def test_an_unreachable_witness_stops_nothing_else() -> None:
    with serve(WitnessServer(KEY.public)) as gone:
        proofs = watched(gone)
    assert logged(proofs)["heads logged"] == 1
    assert open_note(note_of(proofs), KEY.public).size == 1


def test_a_cosignature_of_an_unknown_key_is_not_kept(witness: WitnessServer) -> None:
    proofs = watched(witness)
    stranger = WitnessServer(KEY.public, b"\6" * 32)
    logged_before = stranger.cosignature("another\n1\nx\n")
    witness.answers = [(200, logged_before)]
    logged(proofs)
    assert note_of(proofs).count("— ") == 1


def test_a_log_that_was_restored_to_an_earlier_state_is_reported(
    witness: WitnessServer, caplog: pytest.LogCaptureFixture
) -> None:
    honest, restored = watched(witness), watched(witness)
    for _ in range(3):
        logged(honest)
    logged(restored)
    assert "seen a longer log" in caplog.text
    assert not seen_by(witness, note_of(restored))


def test_a_rewritten_history_gets_no_cosignature(witness: WitnessServer) -> None:
    honest, forged = watched(witness), watched(witness)
    logged(honest)
    forged.failed()
    for _ in range(2):
        logged(forged)
    assert not seen_by(witness, note_of(forged))
    assert witness.asked[-1] == 422


@pytest.mark.parametrize("setting", ["https://witness.example", "w+00000000+AAAA", "ftp://w {key}", ""])
def test_a_witness_that_is_spelled_wrong_is_named_in_the_log_and_stops_nothing_else(
    witness: WitnessServer, setting: str, caplog: pytest.LogCaptureFixture
) -> None:
    malformed = setting.format(key=witness.verifier_key)
    proofs = proof_api(witnesses=(malformed,))
    assert logged(proofs)["heads logged"] == 1
    assert "a setting is wrong: WITNESSES: " in caplog.text
    assert "internal error" not in caplog.text
    with pytest.raises(SettingsError, match="WITNESSES"):
        checkpoint_copies.ask(proofs.api.app, malformed)


def test_a_cosignature_is_that_of_the_specification(witness: WitnessServer) -> None:
    text = "c2d.example.org/log\n9\n" + base64.b64encode(b"\7" * 32).decode() + "\n"
    line = witness.cosignature(text)
    known = Witness.parse(witness.verifier_key)
    at = known.saw(f"{text}\n{line}")
    assert at is not None
    assert at.timestamp() == AT
    assert known.saw(f"{text}\n— another.example AAAA\n") is None
    with pytest.raises(CheckpointInvalid):
        known.saw(f"{text.replace('9', '8', 1)}\n{line}")
    for wrong in ("", "a+b+c", witness.verifier_key.replace("+", "+0", 1), witness.verifier_key[:-4]):
        with pytest.raises(CheckpointInvalid):
            Witness.parse(wrong)


def test_sluice_verify_checks_what_a_witness_signed(witness: WitnessServer, tmp_path: Path) -> None:
    proofs = watched(witness)
    job = proofs.finished()
    bundle = proofs.attestation(job)
    sweep(proofs.api.app)
    head = json.loads(base64.b64decode(json.loads(bundle.splitlines()[0])["payload"]))["predicate"]["history"]["head"]
    proof: Any = proofs.api.get("/log/proof", {"head": head}).text
    for name, content in {
        "run.zip": proofs.crate(job),
        "run.intoto.jsonl": bundle.encode(),
        "holder.pem": pem_of(KEY.public),
        "proof.json": proof.encode(),
    }.items():
        (tmp_path / name).write_bytes(content)
    options = ["--attestation", "run.intoto.jsonl", "--key", "holder.pem", "--proof", "proof.json"]
    given = [str(tmp_path / each) if "." in each else each for each in options]
    command = ["verify", str(tmp_path / "run.zip"), *given, "--witness"]
    ended = CliRunner().invoke(main, [*command, witness.verifier_key])
    assert ended.exit_code == 0, ended.output
    assert (
        f"proven       the witness {NAME} signed the log c2d.example.org/log of 2 leaves at 2026-11-27" in ended.output
    )
    stranger = WitnessServer(KEY.public, b"\6" * 32)
    ended = CliRunner().invoke(main, [*command, stranger.verifier_key])
    assert (ended.exit_code, "no checkpoint that was given has a cosignature" in ended.output) == (1, True)
    ended = CliRunner().invoke(main, [*command, "nonsense"])
    assert (ended.exit_code, "--witness: not the Ed25519 key of a witness" in ended.output) == (2, True)
