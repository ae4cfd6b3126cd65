"""The file of tokens: who may call, known by the SHA-256 of a random token.

One line for each token; `#` begins a comment:

    <sha256 of the token, in hex> <owner> [environments=<id>,<id>] [admin]

The file is read again when it changes, so a token is added or revoked without a restart.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from collections.abc import Iterable, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

from msgspec import Struct

from functions.variables import SettingsError

VARIABLE = "TES_TOKENS_FILE"
# No `:`, so that no owner of the file is one of the issuer's (functions/api/auth/oidc.py).
OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,199}")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_ENVIRONMENTS = "environments="
_ADMIN = "admin"
_EXPECTED = "expected `<sha256 in hex> <owner> [environments=<id>,<id>] [admin]`"


class Entry(Struct, frozen=True):
    """One line of the file."""

    digest: str
    owner: str
    environments: frozenset[str] | None = None  # None: all
    admin: bool = False

    @property
    def line(self) -> str:
        """The line as it stands in the file."""
        allowed = [] if self.environments is None else [_ENVIRONMENTS + ",".join(sorted(self.environments))]
        return " ".join([self.digest, self.owner, *allowed, *([_ADMIN] if self.admin else [])])


def new_token() -> str:
    """Make a token of 256 random bits."""
    return secrets.token_urlsafe(32)


def digest(token: str) -> str:
    """Return what the file keeps of a token. A slow hash is not needed, because nobody can guess a random token."""
    return sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


def find(token: str, file: str) -> Entry | None:
    """Return the line of a token. Each comparison takes constant time. Raises SettingsError."""
    return find_digest(digest(token), file)


def find_digest(wanted: str, file: str) -> Entry | None:
    """Return the line of a token of which only the digest is known. Raises SettingsError."""
    matches = [entry for entry in _entries(file) if hmac.compare_digest(entry.digest, wanted)]
    return matches[0] if matches else None


def check(file: str) -> None:
    """Raise SettingsError if the file cannot be read, or a line of it is wrong."""
    _entries(file)


def parse(lines: Iterable[str]) -> Sequence[Entry]:
    """Read the file's lines. Raises SettingsError, which names the line and shows nothing of it."""
    found: list[Entry] = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].split()
        if words:
            found.append(_entry(words, number))
    return found


def _entry(words: Sequence[str], number: int) -> Entry:
    if len(words) < 2 or not _DIGEST.fullmatch(words[0]) or not OWNER.fullmatch(words[1]):
        raise SettingsError(f"{VARIABLE}, line {number}: {_EXPECTED}")
    environments: frozenset[str] | None = None
    admin = False
    for word in words[2:]:
        if word == _ADMIN:
            admin = True
        elif word.startswith(_ENVIRONMENTS):
            environments = frozenset(each for each in word.removeprefix(_ENVIRONMENTS).split(",") if each)
        else:
            raise SettingsError(f"{VARIABLE}, line {number}: {_EXPECTED}")
    return Entry(words[0], words[1], environments, admin)


def _entries(file: str) -> Sequence[Entry]:
    try:
        about = os.stat(file)
        return _read(file, about.st_mtime_ns, about.st_size, about.st_ino)
    except (OSError, UnicodeDecodeError):
        raise SettingsError(f"{VARIABLE} names a file that cannot be read as text") from None


@lru_cache(maxsize=1)
def _read(file: str, *version: int) -> Sequence[Entry]:
    return parse(Path(file).read_text().splitlines())
