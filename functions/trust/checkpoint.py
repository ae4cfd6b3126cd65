"""A checkpoint: the signed size and root of the log, in the C2SP tlog-checkpoint form that witnesses read.

<origin>
<size>
<base64 of the root>

— <name> <base64 of the key's 4-byte hash and the signature>
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

from functions.trust.signing import SigningKey, verify

_ED25519 = b"\x01"
_DASH = "— "


class CheckpointInvalid(ValueError):
    """The text is not a checkpoint, or no signature of it verifies with the key."""


@dataclass(frozen=True)
class Checkpoint:
    """The signed content: the log's name, how many leaves it has, and their root."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The three lines that are signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"


def sign(checkpoint: Checkpoint, key: SigningKey, earlier: Iterable[SigningKey] = ()) -> str:
    """Return the note. `earlier` keys sign too while a rotation is under way."""
    signatures = [_signature(checkpoint, each) for each in (key, *earlier)]
    return f"{checkpoint.text}\n{''.join(signatures)}"


def _signature(checkpoint: Checkpoint, key: SigningKey) -> str:
    signed = _key_hash(checkpoint.origin, key.public) + key.sign(checkpoint.text.encode())
    return f"{_DASH}{checkpoint.origin} {base64.b64encode(signed).decode()}\n"


def parse(note: str) -> Checkpoint:
    """Return what a note says, without verifying it. Raises CheckpointInvalid."""
    text, separator, _ = note.partition("\n\n")
    lines = text.split("\n")
    if not separator or len(lines) < 3 or not lines[0] or not lines[1].isascii() or not lines[1].isdigit():
        raise CheckpointInvalid("not a checkpoint: expected origin, size, root, an empty line, signatures")
    try:
        root = base64.b64decode(lines[2], validate=True)
    except ValueError:
        raise CheckpointInvalid("not a checkpoint: its root is not base64") from None
    size = int(lines[1]) if len(lines[1]) <= 18 else -1
    checkpoint = Checkpoint(lines[0], size, root)
    if len(root) != 32 or checkpoint.text != f"{text}\n":
        raise CheckpointInvalid("not a checkpoint: its root is not 32 bytes, or there are further lines")
    return checkpoint


def open_note(note: str, public: bytes) -> Checkpoint:
    """Return the checkpoint that the key has signed. Raises CheckpointInvalid."""
    checkpoint = parse(note)
    _, _, signatures = note.partition("\n\n")
    if not signatures.endswith("\n"):
        raise CheckpointInvalid("not a checkpoint: it does not end with a line break")
    expected = _key_hash(checkpoint.origin, public)
    others = []
    for signature in signatures.removesuffix("\n").split("\n"):
        name, _, encoded = signature.removeprefix(_DASH).rpartition(" ")
        try:
            signed = base64.b64decode(encoded, validate=True)
        except ValueError:
            signed = b""
        if not signature.startswith(_DASH) or not name or base64.b64encode(signed).decode() != encoded:
            raise CheckpointInvalid("not a checkpoint: a signature line is damaged")
        if name == checkpoint.origin and signed[:4] == expected:
            if verify(public, checkpoint.text.encode(), signed[4:]):
                return checkpoint
            raise CheckpointInvalid("the checkpoint's signature is wrong")
        others.append(f"{name}+{signed[:4].hex()}")
    this = f"{checkpoint.origin}+{expected.hex()}"
    raise CheckpointInvalid(f"the checkpoint is not signed by this key ({this}), but by {' and '.join(others)}")


def verifier_key(origin: str, public: bytes) -> str:
    """Return the key as witnesses write it: `<name>+<hash>+<base64>`."""
    return f"{origin}+{_key_hash(origin, public).hex()}+{base64.b64encode(_ED25519 + public).decode()}"


def _key_hash(origin: str, public: bytes) -> bytes:
    return hashlib.sha256(origin.encode() + b"\n" + _ED25519 + public).digest()[:4]
