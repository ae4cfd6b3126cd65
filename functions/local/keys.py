"""The laptop's key that signs proofs. A data holder makes an own one: `openssl genpkey -algorithm ed25519`."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

# An Ed25519 private key in PKCS #8 is these bytes and the seed (RFC 8410), so a start need not import cryptography.
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")


def settings(folder: Path, given: Set[str]) -> dict[str, str]:
    """Return the variables of the key: none if the user has given one, else those of a key made for this folder."""
    if given & {"SIGNING_KEY", "SIGNING_KEY_FILE"}:
        return {}
    file = folder / "signing-key.pem"
    _make_key(file)
    return {"SIGNING_KEY_FILE": str(file)}


def _make_key(file: Path) -> None:
    """Write a new private key in PEM, readable by this user only, unless the file exists."""
    with suppress(FileExistsError), open(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        encoded = b64encode(_PKCS8 + os.urandom(32)).decode()
        out.write(f"-----BEGIN PRIVATE KEY-----\n{encoded}\n-----END PRIVATE KEY-----\n")
