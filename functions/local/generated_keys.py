"""The laptop's keys, made on the first start in a folder: one signs for the operator, the other signs proofs."""

from __future__ import annotations

import os
import secrets
from base64 import b64encode
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

SIGNING_KEY = frozenset({"SIGNING_KEY", "SIGNING_KEY_FILE"})  # variables, of which the user may set one
# An Ed25519 private key in PKCS #8 is these bytes and the seed (RFC 8410), so a start need not import cryptography.
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")


def operator_settings(folder: Path, given: Set[str]) -> dict[str, str]:
    """Return the variables of the operator's private key: none if the user has given one.

    Its address is announced as `consumerAddress`, and configure signs with it: it reads the folder of credentials.
    """
    if given & {"OPERATOR_PRIVATE_KEY", "OPERATOR_PRIVATE_KEY_FILE", "SLUICE_CREDENTIALS"}:
        return {}
    file = folder / "credentials" / "OPERATOR_PRIVATE_KEY"
    file.parent.mkdir(mode=0o700, exist_ok=True)
    # One number in 2^128 is above the order of the curve; its first use would report it.
    _write_once(file, f"0x{secrets.token_hex(32)}\n")
    return {"OPERATOR_PRIVATE_KEY_FILE": str(file), "SLUICE_CREDENTIALS": str(file.parent)}


def signing_settings(folder: Path, given: Set[str]) -> dict[str, str]:
    """Return the variables of the key that signs proofs: none if the user has given one.

    A data holder generates their own: `openssl genpkey -algorithm ed25519`.
    """
    if given & SIGNING_KEY:
        return {}
    file = folder / "signing-key.pem"
    encoded = b64encode(_PKCS8 + os.urandom(32)).decode()
    _write_once(file, f"-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n")
    return {"SIGNING_KEY_FILE": str(file)}


def _write_once(file: Path, text: str) -> None:
    """Write a file that only this user can read, unless it exists."""
    with suppress(FileExistsError), open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text)
