"""The private key that signs requests. Servers bind results to the key that submitted, so it must stay the same."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from functions.cli.errors import fail


def read_key(file: Path) -> str:
    """The key in a file, in hex, with or without `0x`."""
    from functions.ethereum import address

    try:
        key = file.read_text().strip()
        address(key)
    except (OSError, UnicodeDecodeError):
        fail(f"{file} cannot be read")
    except ValueError as e:
        fail(f"{file}: {e}")
    return key


def user_key(file: Path) -> str:
    """The user's own key, made at first use and readable by the user alone."""
    if not file.exists():
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
                out.write(new_key() + "\n")
        except FileExistsError:
            pass  # somebody was faster; it is the user's key all the same
        except OSError as e:
            fail(f"no key can be kept in {file} ({e.strerror}); give one with --key-file")
    return read_key(file)


def new_key() -> str:
    """A random key. Below the order of the curve but for one chance in 2^128."""
    return "0x" + secrets.token_hex(32)
