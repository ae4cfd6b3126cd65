"""Encrypts and decrypts streams in the age format (https://age-encryption.org/v1), with bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any, BinaryIO

# age encrypts the payload in blocks of this size, and adds a tag to each.
_BLOCK = 64 * 1024
_TAG = 16
_HEADER = 256  # about
_CHUNK = 1 << 20


class NotDecrypted(Exception):
    """The bytes are not an age file, were changed, or are encrypted to another key."""


def encrypted_size(size: int) -> int:
    """Return the approximate size of `size` bytes once they are encrypted."""
    return size + (size // _BLOCK + 1) * _TAG + _HEADER


def encrypt(chunks: Iterable[bytes], recipient: str) -> Iterator[bytes]:
    """Yield the age file that holds `chunks`. Exceptions of `chunks` pass through."""
    from pyrage import encrypt_io, x25519  # type: ignore[attr-defined]  # a Rust module without stubs

    key = x25519.Recipient.from_str(recipient)
    yield from _piped(chunks, lambda source, out: encrypt_io(source, out, [key]))


def decrypt(chunks: Iterable[bytes], identity: str) -> Iterator[bytes]:
    """Yield what the age file in `chunks` holds. Raises NotDecrypted; exceptions of `chunks` pass through."""
    from pyrage import DecryptError, decrypt_io, x25519  # type: ignore[attr-defined]

    key = x25519.Identity.from_str(identity)
    try:
        yield from _piped(chunks, lambda source, out: decrypt_io(source, out, [key]))
    except (DecryptError, OSError) as e:
        raise NotDecrypted(f"it cannot be decrypted ({type(e).__name__})") from None


def new_identity() -> tuple[str, str]:
    """Return a new identity, which decrypts, and its recipient, which encrypts."""
    from pyrage import x25519  # type: ignore[attr-defined]

    identity = x25519.Identity.generate()
    return str(identity), str(identity.to_public())


def _piped(chunks: Iterable[bytes], transform: Callable[[Any, BinaryIO], None]) -> Iterator[bytes]:
    """pyrage pushes into a file object, but a storage pulls from an iterator. A pipe connects them."""
    read_end, write_end = os.pipe()
    source, failed = _Reader(chunks), []

    def work() -> None:
        try:
            with os.fdopen(write_end, "wb") as out:
                transform(source, out)
        except BaseException as e:
            failed.append(source.error or e)

    worker = threading.Thread(target=work, name="age", daemon=True)
    worker.start()
    try:
        with os.fdopen(read_end, "rb") as transformed:
            while chunk := transformed.read(_CHUNK):
                yield chunk
    finally:
        worker.join()  # closing the pipe has ended it
    if failed:
        raise failed[0]


class _Reader:
    """A file object for pyrage. Keeps the exception that pyrage would replace with its own."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._rest = b""
        self.error: BaseException | None = None

    def read(self, size: int = -1) -> bytes:
        try:
            while not self._rest and (chunk := next(self._chunks, None)) is not None:
                self._rest = chunk
        except BaseException as e:
            self.error = e
            raise
        part, self._rest = self._rest[:size], self._rest[size:]
        return part
