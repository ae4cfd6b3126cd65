"""A checkpoint: the signed size and root of the log, in the C2SP tlog-checkpoint form that witnesses read.

<origin>
<size>
<base64 of the root>

— <name> <base64 of the key's 4-byte hash and the signature>

Witnesses add lines of their own (C2SP tlog-cosignature): the signature follows the time at which they saw the log.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from msgspec import Struct

from functions.trust.signing import SigningKey, verify

_ED25519 = b"\x01"
_COSIGNATURE = b"\x04"
_LATEST = 253402300799  # the end of the year 9999, in seconds since 1970
_DASH = "— "


class CheckpointInvalid(ValueError):
    """The text is not a checkpoint, or no signature of it verifies with the key."""


def log_origin(origin: str) -> str:
    """Return the name of a deployment's log: its URL without the scheme, as checkpoints are named."""
    return f"{origin.split('://', 1)[-1].rstrip('/')}/log"


class Checkpoint(Struct, frozen=True):
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
    expected = _key_hash(checkpoint.origin, public)
    others = []
    for name, hash_, signature in _signatures(note):
        if name == checkpoint.origin and hash_ == expected:
            if verify(public, checkpoint.text.encode(), signature):
                return checkpoint
            raise CheckpointInvalid("the checkpoint's signature is wrong")
        others.append(f"{name}+{hash_.hex()}")
    this = f"{checkpoint.origin}+{expected.hex()}"
    raise CheckpointInvalid(f"the checkpoint is not signed by this key ({this}), but by {' and '.join(others)}")


def _signatures(note: str) -> Sequence[tuple[str, bytes, bytes]]:
    """Return name, key hash and signature of each signature line. Raises CheckpointInvalid if one is damaged."""
    _, _, lines = note.partition("\n\n")
    if not lines.endswith("\n"):
        raise CheckpointInvalid("not a checkpoint: it does not end with a line break")
    found = []
    for line in lines.removesuffix("\n").split("\n"):
        name, _, encoded = line.removeprefix(_DASH).rpartition(" ")
        try:
            signed = base64.b64decode(encoded, validate=True)
        except ValueError:
            signed = b""
        if not line.startswith(_DASH) or not name or base64.b64encode(signed).decode() != encoded:
            raise CheckpointInvalid("not a checkpoint: a signature line is damaged")
        found.append((name, signed[:4], signed[4:]))
    return found


def verifier_key(origin: str, public: bytes) -> str:
    """Return the key as witnesses write it: `<name>+<hash>+<base64>`."""
    return f"{origin}+{_key_hash(origin, public).hex()}+{base64.b64encode(_ED25519 + public).decode()}"


def _key_hash(name: str, public: bytes, kind: bytes = _ED25519) -> bytes:
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:4]


# --- witnesses --------------------------------------------------------------------------------------


class Witness(Struct, frozen=True):
    """The key of a witness, who signs a checkpoint only if its log begins with the log that they signed before."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> Witness:
        """Read a witness's verifier key: `<name>+<hash>+<base64>`. Raises CheckpointInvalid."""
        name, _, rest = text.strip().partition("+")
        hash_, _, encoded = rest.partition("+")
        try:
            key = base64.b64decode(encoded, validate=True)
        except ValueError:
            key = b""
        kind, public = key[:1], key[1:]
        if not name or len(public) != 32 or kind != _COSIGNATURE or _key_hash(name, public, kind).hex() != hash_:
            raise CheckpointInvalid("not the Ed25519 key of a witness: expected NAME+HASH+BASE64 with a key of kind 4")
        return cls(name, public)

    def saw(self, note: str) -> datetime | None:
        """Return when the witness signed the note, or None. Raises CheckpointInvalid if its line is wrong."""
        text, expected = parse(note).text, _key_hash(self.name, self.public, _COSIGNATURE)
        for name, hash_, signed in _signatures(note):
            if (name, hash_) == (self.name, expected):
                seconds = int.from_bytes(signed[:8])
                message = f"cosignature/v1\ntime {seconds}\n{text}"
                if seconds > _LATEST or not verify(self.public, message.encode(), signed[8:]):
                    raise CheckpointInvalid(f"the cosignature of the witness {self.name} is wrong")
                return datetime.fromtimestamp(seconds, UTC)
        return None

    def own_lines(self, note: str, lines: str) -> str:
        """Return those of `lines` that are valid cosignatures of the note by this witness."""
        text, found = parse(note).text, []
        for line in lines.splitlines(keepends=True):
            try:
                if self.saw(f"{text}\n{line}"):
                    found.append(line)
            except CheckpointInvalid:
                continue
        return "".join(found)
