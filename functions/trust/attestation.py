"""The signed statement: an in-toto Statement v1 in a DSSE v1 envelope. It says by digest what it is about."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from typing import Any

from functions.trust.signing import SigningKey, key_id, verify

STATEMENT = "https://in-toto.io/Statement/v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"
SLSA_PROVENANCE = "https://slsa.dev/provenance/v1"


class EnvelopeInvalid(ValueError):
    """The envelope is damaged, or none of its signatures verifies with the key."""


class SignedByAnother(EnvelopeInvalid):
    """The envelope is signed by other keys than the expected one."""


def statement(subjects: Mapping[str, str], predicate_type: str, predicate: Mapping[str, Any]) -> dict[str, Any]:
    """Return the statement. `subjects`: the sha256 of each file by its name; they match by digest alone."""
    return {
        "_type": STATEMENT,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()],
        "predicateType": predicate_type,
        "predicate": dict(predicate),
    }


def envelope(body: bytes, keys: Sequence[SigningKey]) -> dict[str, Any]:
    """Return the envelope around a statement's bytes, with one signature for each key."""
    signed = pre_authentication(body)
    return {
        "payload": base64.b64encode(body).decode(),
        "payloadType": PAYLOAD_TYPE,
        "signatures": [
            {"keyid": key_id(key.public), "sig": base64.b64encode(key.sign(signed)).decode()} for key in keys
        ],
    }


def pre_authentication(body: bytes, payload_type: str = PAYLOAD_TYPE) -> bytes:
    """Return the bytes that are signed (DSSE v1, `PAE`)."""
    return b"DSSEv1 %d %s %d %s" % (len(payload_type.encode()), payload_type.encode(), len(body), body)


def open_envelope(value: Mapping[str, Any], public: bytes) -> dict[str, Any]:
    """Return the statement that the key has signed. Raises EnvelopeInvalid.

    The signature is verified first, and the bytes that were verified are the ones that are parsed. `keyid` is a hint:
    it only tells, if no signature verifies, which keys have signed.
    """
    try:
        body = _decode(value["payload"])
        payload_type = str(value["payloadType"])
        signatures = [_decode(each["sig"]) for each in value["signatures"]]
        named = [str(each.get("keyid", "")) for each in value["signatures"]]
    except (AttributeError, KeyError, TypeError, ValueError):
        raise EnvelopeInvalid("not a DSSE envelope: expected payload, payloadType and signatures") from None
    if payload_type != PAYLOAD_TYPE:
        raise EnvelopeInvalid(f"the payload is of the type {payload_type!r}, not {PAYLOAD_TYPE!r}")
    signed = pre_authentication(body, payload_type)
    if not any(verify(public, signed, signature) for signature in signatures):
        if named and key_id(public) not in named:
            raise SignedByAnother(f"not signed by the key {key_id(public)}, but by {' and '.join(named)}")
        raise EnvelopeInvalid("no signature of the envelope verifies with this key")
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise EnvelopeInvalid("the signed payload is not JSON") from None
    if not isinstance(parsed, dict) or parsed.get("_type") != STATEMENT:
        raise EnvelopeInvalid(f"the signed payload is not a {STATEMENT}")
    return parsed


def _decode(text: str) -> bytes:
    """Decode either base64 alphabet, as DSSE asks. Raises ValueError for anything that an encoder would not write."""
    standard = text.replace("-", "+").replace("_", "/")
    content = base64.b64decode(standard, validate=True)
    if base64.b64encode(content).decode() != standard:  # bits after the last byte are set
        raise ValueError("the base64 is not canonical")
    return content


def is_exact(value: Mapping[str, Any]) -> bool:
    """Whether the base64 is what `envelope` writes; other base64 can stand for the same bytes."""
    texts = [value["payload"], *(each["sig"] for each in value["signatures"])]
    named = all(set(each) == {"keyid", "sig"} for each in value["signatures"])
    return named and all(base64.b64encode(_decode(text)).decode() == text for text in texts)
