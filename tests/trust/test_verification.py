"""Whoever holds a bag, the statements and the key finds every change, without a server."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.proofs import (
    ProofApi,
    held_job,
    held_proof_api,
    openssl_verifies,
    proof_api,
    released_job,
    signing_pem,
    unpacked,
)

from functions.cli.api_client import Client
from functions.cli.main import main
from functions.trust import attestation, statements
from functions.trust.run_record import ATTESTED
from functions.trust.signing import SigningKey, key_id, pem_of
from functions.trust.verification import Outcome, Verification
from functions.workflow.model import WorkflowId

KEY = SigningKey(signing_pem().encode())
OTHER = SigningKey(signing_pem(b"\1" * 32).encode())


class Given:
    """A finished job's bag and its statements."""

    def __init__(self, folder: Path, proofs: ProofApi, job: str, edition: str = "holder") -> None:
        self.bundle = proofs.attestation(job)
        bag = unpacked(proofs.crate(job, edition), folder)
        paths = sorted(path for path in bag.rglob("*") if path.is_file())
        self.files = {path.relative_to(bag).as_posix(): path.read_bytes() for path in paths}

    def outcomes(self, files: dict[str, bytes] | None = None, bundle: str | None = None, key: Any = KEY) -> list[Any]:
        read = {path: lambda content=content: [content] for path, content in (files or self.files).items()}
        steps = Verification(read).steps(bundle or self.bundle, key.public, None, None)
        return [(step.outcome, step.text) for step in steps]

    def broken(self, **changed: Any) -> list[str]:
        return [text for outcome, text in self.outcomes(**changed) if outcome is Outcome.BROKEN]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Given:
    proofs = proof_api()
    return Given(tmp_path_factory.mktemp("bag"), proofs, proofs.finished())


def statement_of(bundle: str) -> Any:
    return json.loads(base64.b64decode(json.loads(bundle.splitlines()[0])["payload"]))


def test_a_whole_bag_is_proven(whole: Given) -> None:
    outcomes = whole.outcomes()
    assert [outcome for outcome, _ in outcomes] == [Outcome.PROVEN] * 4 + [Outcome.OPEN]
    assert "each of its 2 released files" in outcomes[3][1]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(data=st.data())
def test_every_change_of_one_byte_of_a_bag_is_found(whole: Given, data: st.DataObject) -> None:
    path = data.draw(st.sampled_from(sorted(whole.files)))
    content = bytearray(whole.files[path])
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    assert whole.broken(files={**whole.files, path: bytes(content)})


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300, deadline=None)
@given(data=st.data())
def test_every_change_of_one_byte_of_a_statement_is_found(whole: Given, data: st.DataObject) -> None:
    text = bytearray(whole.bundle.encode())
    place = data.draw(st.integers(0, len(text) - 1))
    text[place] ^= data.draw(st.integers(1, 127))
    assert whole.broken(bundle=text.decode("utf-8", "replace"))


def test_a_file_that_is_added_or_removed_is_found(whole: Given) -> None:
    assert whole.broken(files={**whole.files, "data/outputs/more.csv": b"1"})
    for path in whole.files:
        assert whole.broken(files={name: each for name, each in whole.files.items() if name != path})


def test_the_bag_of_another_run_does_not_fit(whole: Given, tmp_path: Path) -> None:
    proofs = proof_api()
    proofs.finished(agreementId="0x0")
    other = Given(tmp_path, proofs, proofs.finished({"outputs/other.csv": b"1"}))
    assert whole.broken(bundle=other.bundle)


def test_another_key_proves_nothing_and_both_keys_are_named(whole: Given) -> None:
    (told,) = whole.broken(key=OTHER)
    assert told == (
        f"the statement is not signed by the key {key_id(OTHER.public)}, but by {key_id(KEY.public)}; "
        "is --key the right one?"
    )


def test_a_wrong_signature_that_names_this_key_is_not_genuine(whole: Given) -> None:
    value = json.loads(whole.bundle.splitlines()[0])
    value["signatures"][0]["sig"] = base64.b64encode(OTHER.sign(b"something else")).decode()
    (told,) = whole.broken(bundle=json.dumps(value, separators=(",", ":")) + "\n")
    assert told == "the statement is not genuine: no signature of the envelope verifies with this key"


@pytest.mark.parametrize("edition", ["holder", "consumer"])
def test_both_editions_of_a_released_job_are_subjects_of_one_statement(edition: str, tmp_path: Path) -> None:
    proofs = held_proof_api()
    released = Given(tmp_path, proofs, released_job(proofs), edition)
    assert released.broken() == []


def test_a_held_job_has_a_statement_that_names_no_file_and_no_finding(tmp_path: Path) -> None:
    proofs = held_proof_api()
    job = held_job(proofs)
    body = statement_of(proofs.attestation(job))
    assert body["predicate"]["verdict"] == "held"
    assert "a.csv" not in json.dumps(body)
    assert "verdict" not in body["predicate"].get("checks", {})


@pytest.mark.parametrize(("contents", "verdict"), [({}, "nothing"), ({"outputs/a.csv": b"n\n"}, "released")])
def test_the_statement_of_a_failed_job_says_whether_files_left(contents: dict[str, bytes], verdict: str) -> None:
    proofs = proof_api()
    body = statement_of(proofs.attestation(proofs.failed(contents)))
    assert body["predicate"]["verdict"] == verdict


def test_the_history_names_a_statement_once(whole: Given) -> None:
    proofs = proof_api()
    job = proofs.finished()
    crate, first = proofs.crate(job), proofs.attestation(job)
    assert (proofs.crate(job), proofs.attestation(job)) == (crate, first)
    lines = [line for line, _ in proofs.api.app.store.history(WorkflowId(job))]
    assert [line.event for line in lines].count(ATTESTED) == 1
    body = base64.b64decode(json.loads(first.splitlines()[0])["payload"])
    assert lines[-1].facts == {"statement": statements.payload_digest(body)}


def test_a_deployment_without_a_key_says_so() -> None:
    proofs = proof_api()
    job = proofs.finished()
    object.__setattr__(proofs.api.app.settings, "signing_key", "")
    answered = proofs.api.get("/attestation", {"jobId": job}, headers={"Admin": "myAdminPass"})
    assert (answered.status_code, "SIGNING_KEY" in answered.text) == (404, True)


# --- vectors, and the tools of others --------------------------------------------------------------


def test_the_signature_is_that_of_the_recorded_vector() -> None:
    made = attestation.envelope(b'{"_type":"https://in-toto.io/Statement/v1"}', [KEY])
    (signature,) = made["signatures"]
    assert signature["sig"] == (
        "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA=="
    )
    assert signature["keyid"] == key_id(KEY.public)
    assert signature["keyid"].startswith("sha256:21fe31df")
    assert signature["keyid"].endswith("21b9")


def test_openssl_verifies_an_envelope(whole: Given, tmp_path: Path) -> None:
    value = json.loads(whole.bundle.splitlines()[0])
    body = base64.b64decode(value["payload"])
    signed = b"DSSEv1 28 application/vnd.in-toto+json %d %s" % (len(body), body)
    signature = base64.b64decode(value["signatures"][0]["sig"])
    assert openssl_verifies(tmp_path, pem_of(KEY.public), signed, signature)
    other = b"DSSEv1 28 application/vnd.in-toto+json 1 x"
    assert not openssl_verifies(tmp_path, pem_of(KEY.public), other, signature)


def test_securesystemslib_verifies_an_envelope(whole: Given) -> None:
    from securesystemslib.dsse import Envelope
    from securesystemslib.signer._key import SSlibKey

    for line in whole.bundle.splitlines():
        value = json.loads(line)
        public = SSlibKey(value["signatures"][0]["keyid"], "ed25519", "ed25519", {"public": KEY.public.hex()})
        assert Envelope.from_dict(value).verify([public], 1)


def documented_steps(part: int, folder: Path) -> str:
    """What a part of the steps in docs/trust.md prints, when it is run in a folder."""
    if missing := [tool for tool in ("jq", "unzip", "openssl") if shutil.which(tool) is None]:
        pytest.skip(f"{missing[0]} is not installed")
    page = (Path(__file__).parents[2] / "docs/trust.md").read_text()
    section = page.partition("### The same without Sluice\n")[2].partition("\n### ")[0]
    steps = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)[part]
    ended = subprocess.run(["bash", "-euo", "pipefail", "-c", steps], cwd=folder, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert "Signature Verified Successfully" in ended.stdout
    return ended.stdout


def test_the_steps_of_the_documentation_prove_the_place_in_the_log(tmp_path: Path) -> None:
    proofs = proof_api()
    jobs = [proofs.finished(agreementId=f"0x{number}") for number in range(6)]
    (tmp_path / "holder.pem").write_bytes(pem_of(KEY.public))
    places = set()
    for job in jobs:
        statement = statement_of(proofs.attestation(job))
        proof = proofs.api.get("/log/proof", {"head": statement["predicate"]["history"]["head"]}).text
        (tmp_path / "statement.json").write_text(json.dumps(statement))
        (tmp_path / "run.proof.json").write_text(proof)
        computed, signed = documented_steps(1, tmp_path).splitlines()[-2:]
        assert computed == signed
        places.add(json.loads(proof)["index"])
    assert len(places) == len(jobs)


def test_the_steps_of_the_documentation_verify_a_crate_without_sluice(saved: Path) -> None:
    printed = documented_steps(0, saved)
    digests = re.findall("^([0-9a-f]{64})  -$", printed, re.MULTILINE)
    previous = re.findall("^([0-9a-f]{64})$", printed, re.MULTILINE)
    assert digests[:-1] == previous[1:]
    assert digests


# --- the command -----------------------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    proofs = proof_api()
    job = proofs.finished()
    (tmp_path / "run.zip").write_bytes(proofs.crate(job))
    (tmp_path / "run.intoto.jsonl").write_text(proofs.attestation(job))
    (tmp_path / "holder.pem").write_bytes(pem_of(KEY.public))
    return tmp_path


def test_sluice_verify_says_what_is_proven_and_what_is_not(saved: Path) -> None:
    given = ["--attestation", str(saved / "run.intoto.jsonl"), "--key", str(saved / "holder.pem")]
    ended = CliRunner().invoke(main, ["verify", str(saved / "run.zip"), *given])
    assert ended.exit_code == 0, ended.output
    assert "proven       the bag is whole" in ended.output
    assert "not checked  the log" in ended.output
    assert "No proof shows:" in ended.output


def test_sluice_verify_fails_for_a_changed_folder(saved: Path) -> None:
    bag = unpacked((saved / "run.zip").read_bytes(), saved / "bag")
    assert CliRunner().invoke(main, ["verify", str(bag)]).exit_code == 0
    (bag / "data/outputs/statistics.csv").write_text("another")
    ended = CliRunner().invoke(main, ["verify", str(bag), "--json"])
    assert ended.exit_code == 1
    assert json.loads(ended.output)["genuine"] is False


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\5\6" + b"\0" * 18])
def test_sluice_verify_refuses_what_is_no_bag(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "run.zip").write_bytes(content)
    ended = CliRunner().invoke(main, ["verify", str(tmp_path / "run.zip")])
    assert ended.exit_code == 1
    assert "cannot be verified" in ended.output


def test_sluice_crate_says_which_file_cannot_be_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    monkeypatch.setattr(Client, "crate", lambda *_: iter([b"PK"]))
    target = tmp_path / "missing" / "run.zip"
    ended = CliRunner().invoke(main, ["crate", "job", "--out", str(target)])
    assert (ended.exit_code, ended.stderr) == (1, f"Error: {target}: cannot be written (No such file or directory)\n")


def test_sluice_crate_refuses_a_proof_without_a_statement_before_it_saves_anything(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    ended = CliRunner().invoke(main, ["crate", "job", "--out", str(tmp_path / "run.zip"), "--proof", "proof.json"])
    assert ended.exit_code == 2
    assert "--proof needs --attestation" in ended.stderr
    assert not (tmp_path / "run.zip").exists()
