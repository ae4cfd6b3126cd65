"""Signed checkpoints and statements: the published vectors, openssl's word, and every damaged byte."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from hypothesis import given
from hypothesis import strategies as st
from support.proofs import openssl_verifies

from functions.trust import attestation, checkpoint, signing
from functions.trust.checkpoint import Checkpoint, CheckpointInvalid
from functions.trust.signing import KeyInvalid, SigningKey

SEED = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"  # RFC 8032, test 1
BODY = b'{"_type":"https://in-toto.io/Statement/v1"}'
SIGNATURE = "2WAfaHm5jluo0w+0rk8uVkluELJYWjSmU9x7EUzx+AyteDGJ4/nqyJXfmAUVFIAoQafWm7AxBZNw5M9ixNHiCA=="


def key(seed: str = SEED) -> SigningKey:
    private = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(seed))
    return SigningKey(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


KEY, OTHER = key(), key("11" * 32)
POINT = Checkpoint("c2d.example.org/log", 5, bytes(range(32)))


def test_the_envelope_is_that_of_the_known_vector() -> None:
    made = attestation.envelope(BODY, [KEY])
    assert attestation.pre_authentication(BODY) == b"DSSEv1 28 application/vnd.in-toto+json 43 " + BODY
    assert made["signatures"] == [{"keyid": signing.key_id(KEY.public), "sig": SIGNATURE}]
    assert signing.key_id(KEY.public).startswith("sha256:21fe31df")
    assert attestation.open_envelope(made, KEY.public) == {"_type": "https://in-toto.io/Statement/v1"}


def test_openssl_verifies_an_envelope(tmp_path: Path) -> None:
    signature = base64.b64decode(attestation.envelope(BODY, [KEY])["signatures"][0]["sig"])
    pem = signing.pem_of(KEY.public)
    assert openssl_verifies(tmp_path, pem, attestation.pre_authentication(BODY), signature)
    assert not openssl_verifies(tmp_path, pem, attestation.pre_authentication(BODY + b" "), signature)


@given(st.data())
def test_an_envelope_with_one_changed_byte_is_refused(data: st.DataObject) -> None:
    text = json.dumps(attestation.envelope(BODY, [KEY])).encode()
    place = data.draw(st.integers(0, len(text) - 1))
    changed = text[:place] + bytes([text[place] ^ data.draw(st.integers(1, 255))]) + text[place + 1 :]
    try:
        value = json.loads(changed)
        opened = attestation.open_envelope(value, KEY.public)
    except (ValueError, attestation.EnvelopeInvalid):
        return
    # Only the key's name, which is a hint, may differ.
    assert opened == {"_type": "https://in-toto.io/Statement/v1"}
    assert value["payload"] == base64.b64encode(BODY).decode()


def test_either_alphabet_of_base64_is_accepted() -> None:
    made = attestation.envelope(b'{"_type":"https://in-toto.io/Statement/v1","a":"\xc3\xbf\xc3\xbf>>>???"}', [KEY])
    for each in (made, {**made, "payload": made["payload"].replace("+", "-").replace("/", "_")}):
        assert attestation.open_envelope(each, KEY.public)["a"] == "ÿÿ>>>???"


def test_two_people_sign_the_same_envelope() -> None:
    made = attestation.envelope(BODY, [KEY, OTHER])
    assert attestation.open_envelope(made, KEY.public) == attestation.open_envelope(made, OTHER.public)
    with pytest.raises(attestation.EnvelopeInvalid, match="not signed by the key"):
        attestation.open_envelope(attestation.envelope(BODY, [OTHER]), KEY.public)


def test_a_checkpoint_opens_with_its_key_alone() -> None:
    note = checkpoint.sign(POINT, KEY)
    assert note.startswith(
        "c2d.example.org/log\n5\nAAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=\n\n— c2d.example.org/log "
    )
    assert checkpoint.open_note(note, KEY.public) == POINT
    with pytest.raises(CheckpointInvalid, match="not signed by this key"):
        checkpoint.open_note(note, OTHER.public)


def test_during_a_rotation_both_keys_open_a_checkpoint() -> None:
    note = checkpoint.sign(POINT, OTHER, [KEY])
    assert checkpoint.open_note(note, KEY.public) == checkpoint.open_note(note, OTHER.public) == POINT


@given(st.data())
def test_a_checkpoint_with_one_changed_byte_is_refused(data: st.DataObject) -> None:
    note = checkpoint.sign(POINT, KEY).encode()
    place = data.draw(st.integers(0, len(note) - 1))
    changed = note[:place] + bytes([note[place] ^ data.draw(st.integers(1, 255))]) + note[place + 1 :]
    with pytest.raises((CheckpointInvalid, UnicodeDecodeError)):
        checkpoint.open_note(changed.decode(), KEY.public)


@given(st.text(max_size=200))
def test_no_text_crashes_the_parser(text: str) -> None:
    with pytest.raises(CheckpointInvalid):
        checkpoint.open_note(text, KEY.public)


def test_trust_goes_from_key_to_key_and_ends_at_a_forged_statement() -> None:
    third = key("22" * 32)
    first, second = (
        signing.succession(KEY, OTHER.public, "2026-11-27T00:00:00.000000Z"),
        signing.succession(OTHER, third.public, "2027-11-27T00:00:00.000000Z"),
    )
    assert signing.follow(KEY.public, [first, second]) == [KEY.public, OTHER.public, third.public]
    forged = {**second, "to": base64.b64encode(b"x" * 32).decode()}
    assert signing.follow(KEY.public, [first, forged]) == [KEY.public, OTHER.public]
    assert signing.follow(KEY.public, [second]) == [KEY.public]


@pytest.mark.parametrize("text", [b"", b"no key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"])
def test_a_file_that_is_no_key_is_named(text: bytes) -> None:
    with pytest.raises(KeyInvalid, match="not a"):
        signing.read_public(text)
