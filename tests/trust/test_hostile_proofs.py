"""`sluice verify` with files that somebody has made or damaged: it says what is wrong, and never ends with an error."""

from __future__ import annotations

import json
import re
import zipfile
from base64 import b64decode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.proofs import logged, proof_api, signing_pem

from functions.cli.main import main
from functions.trust.signing import SigningKey, pem_of

DEEP = "[" * 100_000
Answer = dict[str, Any]


class Saved:
    """A crate with its statement and its proof of the log, as `sluice crate` saves them."""

    def __init__(self, folder: Path) -> None:
        proofs = proof_api()
        job = proofs.finished()
        self.folder = folder
        self.archive = proofs.crate(job)
        bundle = proofs.attestation(job)
        logged(proofs)
        statement = json.loads(b64decode(json.loads(bundle.splitlines()[0])["payload"]))
        head = statement["predicate"]["history"]["head"]
        self.proof: Answer = json.loads(proofs.api.get("/log/proof", {"head": head}).text)
        (folder / "run.zip").write_bytes(self.archive)
        (folder / "run.intoto.jsonl").write_text(bundle)
        (folder / "run.proof.json").write_text(json.dumps(self.proof))
        (folder / "holder.pem").write_bytes(pem_of(SigningKey(signing_pem().encode()).public))

    def verify(self, **instead: str | bytes) -> Result:
        """Verify with other files in place of those that were saved, by option; `bag` is the ZIP."""
        files = {"bag": "run.zip", "attestation": "run.intoto.jsonl", "proof": "run.proof.json", "key": "holder.pem"}
        paths = {option: self.folder / name for option, name in files.items()}
        for option, content in instead.items():
            paths[option] = self.folder / f"other-{option}"
            paths[option].write_bytes(content.encode() if isinstance(content, str) else content)
        bag = paths.pop("bag")
        options = [word for option, path in paths.items() for word in (f"--{option}", str(path))]
        return CliRunner().invoke(main, ["verify", str(bag), *options])


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Saved:
    return Saved(tmp_path_factory.mktemp("saved"))


def test_what_was_saved_is_proven(saved: Saved) -> None:
    ended = saved.verify()
    assert ended.exit_code == 0, ended.output
    assert "the history is leaf 0 of the log" in ended.output


@pytest.mark.parametrize("text", ['"text"', "5", "[]", DEEP, "", b"\xff\xfe"])
@pytest.mark.parametrize("option", ["proof", "attestation", "checkpoint"])
def test_a_file_of_another_kind_is_refused(saved: Saved, option: str, text: str | bytes) -> None:
    ended = saved.verify(**{option: text})
    assert ended.exit_code == 1, ended.output
    assert "BROKEN" in ended.output or f"other-{option}" in ended.output


@pytest.mark.parametrize("index", [-1, 10**30, 0.5, "0", None, [], True])
def test_an_index_that_is_no_place_in_the_log_is_refused(saved: Saved, index: Any) -> None:
    ended = saved.verify(proof=json.dumps({**saved.proof, "index": index}))
    assert ended.exit_code == 1
    assert re.search("BROKEN       the (proof of the log cannot be used|log of the checkpoint does not)", ended.output)


@pytest.mark.parametrize("envelope", [{"payload": 5}, {"payload": None}, {"signatures": 5}, {"signatures": [5]}])
def test_an_envelope_with_values_of_another_type_is_refused(saved: Saved, envelope: Answer) -> None:
    text = (saved.folder / "run.intoto.jsonl").read_text().splitlines()[0]
    ended = saved.verify(attestation=json.dumps({**json.loads(text), **envelope}) + "\n")
    assert ended.exit_code == 1
    assert "BROKEN       the statement is not genuine: not a DSSE envelope" in ended.output


def encrypted(archive: bytearray, entry: int) -> None:
    archive[entry + 8] |= 1


def compressed_otherwise(archive: bytearray, entry: int) -> None:
    archive[entry + 10] = 14  # LZMA


def damaged(archive: bytearray, entry: int) -> None:
    local = int.from_bytes(archive[entry + 42 : entry + 46], "little")
    start = local + 30 + archive[local + 26] + archive[local + 28]
    archive[start] ^= 0xFF


@pytest.mark.parametrize("change", [encrypted, compressed_otherwise, damaged])
def test_a_zip_that_cannot_be_unpacked_is_no_internal_error(
    saved: Saved, change: Callable[[bytearray, int], None]
) -> None:
    archive = bytearray(saved.archive)
    change(archive, archive.index(b"PK\1\2"))
    ended = saved.verify(bag=bytes(archive))
    assert ended.exit_code == 1, ended.output
    assert "other-bag cannot be verified: " in ended.output


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150, deadline=None)
@given(place=st.integers(0), bits=st.integers(1, 255))
def test_a_changed_byte_of_the_zip_is_found_or_leaves_every_file_as_it_was(saved: Saved, place: int, bits: int) -> None:
    archive = bytearray(saved.archive)
    archive[place % len(archive)] ^= bits
    ended = saved.verify(bag=bytes(archive))
    assert ended.exit_code in (0, 1), ended.output
    if ended.exit_code == 0:
        assert contents(saved.folder / "other-bag") == contents(saved.folder / "run.zip")


def contents(archive: Path) -> dict[str, bytes]:
    """The files of a crate by their path below its folder, whose name is of no account."""
    with zipfile.ZipFile(archive) as packed:
        return {name.partition("/")[2]: packed.read(name) for name in packed.namelist()}
