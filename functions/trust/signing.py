"""Ed25519 keys of the data holder: they sign checkpoints and statements. Another key than the wallet's.

A key file is PEM, as `openssl genpkey -algorithm ed25519` writes it. The library is imported at the first signature.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from functions.trust import canonical

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class KeyInvalid(ValueError):
    """The text is not an Ed25519 key in PEM."""


class SigningKey(Struct, frozen=True, dict=True):
    """A private key."""

    pem: bytes

    def sign(self, message: bytes) -> bytes:
        """Return the 64 bytes of the signature. Raises KeyInvalid."""
        return self._private.sign(message)

    @cached_property
    def public(self) -> bytes:
        """The raw public key, 32 bytes. Raises KeyInvalid."""
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @cached_property
    def _private(self) -> Ed25519PrivateKey:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
        from cryptography.hazmat.primitives.serialization import load_pem_private_key

        try:
            key = load_pem_private_key(self.pem, password=None)
        except (ValueError, TypeError) as e:
            raise KeyInvalid(f"not a private key in PEM without a password: {e}") from None
        if not isinstance(key, Ed25519PrivateKey):
            raise KeyInvalid("not an Ed25519 key; make one with `openssl genpkey -algorithm ed25519`")
        return key


def verify(public: bytes, message: bytes, signature: bytes) -> bool:
    """Whether `signature` is that of the raw public key over `message`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def read_public(text: bytes) -> bytes:
    """Return the raw public key of a PEM file, a public or a private one. Raises KeyInvalid."""
    if b"PRIVATE KEY" in text:
        return SigningKey(text).public
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key

    try:
        key = load_pem_public_key(text)
    except ValueError:  # its text is about the library
        raise KeyInvalid("not an Ed25519 key in PEM") from None
    if not isinstance(key, Ed25519PublicKey):
        raise KeyInvalid("not an Ed25519 key")
    return key.public_bytes(Encoding.Raw, PublicFormat.Raw)


def pem_of(public: bytes) -> bytes:
    """Return the public key as PEM, which openssl reads."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    return Ed25519PublicKey.from_public_bytes(public).public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def key_id(public: bytes) -> str:
    """Return the name of a key: `sha256:` and the digest of its raw bytes. A hint, never proof."""
    return f"sha256:{hashlib.sha256(public).hexdigest()}"


def succession(old: SigningKey, new: bytes, at: str) -> dict[str, Any]:
    """Return the statement in which a key names its successor from the time `at` on."""
    statement = {"v": 1, "from": key_id(old.public), "to": base64.b64encode(new).decode(), "at": at}
    return {**statement, "sig": base64.b64encode(old.sign(canonical.encode(statement))).decode()}


def follow(trusted: bytes, statements: Sequence[dict[str, Any]]) -> list[bytes]:
    """Return the keys that follow from a trusted one, itself first. A statement that does not verify ends the list."""
    keys = [trusted]
    for statement in statements:
        unsigned = {name: value for name, value in statement.items() if name != "sig"}
        try:
            new = base64.b64decode(str(unsigned.get("to")), validate=True)
            signature = base64.b64decode(str(statement.get("sig")), validate=True)
        except ValueError:
            break
        named = unsigned.get("from") == key_id(keys[-1])
        if not named or len(new) != 32 or not verify(keys[-1], canonical.encode(unsigned), signature):
            break
        keys.append(new)
    return keys
