"""The private key that signs requests. A server gives results only to the key that submitted the job."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from functions.cli.command_errors import fail


def read_key(file: Path) -> str:
    """Read a private key in hex, with or without `0x`. Ends the command if the file holds none."""
    from functions.ethereum import address

    try:
        key = file.read_text().strip()
        address(key)
    except (OSError, UnicodeDecodeError):
        fail(f"{file}: cannot be read as text")
    except ValueError as e:
        fail(f"{file}: {e}")
    return key


def user_key(file: Path) -> str:
    """Read the user's own key. The first call makes it, readable by the user only."""
    if not file.exists():
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.write(new_key() + "\n")
        except FileExistsError:
            pass  # another command made it a moment ago
        except OSError as e:
            fail(f"{file}: cannot store a new key ({e.strerror}); name a key with --key-file")
    return read_key(file)


def new_key() -> str:
    """Make a random private key. Its chance to lie outside the curve's order, and be invalid, is 1 in 2^128."""
    return "0x" + secrets.token_hex(32)
