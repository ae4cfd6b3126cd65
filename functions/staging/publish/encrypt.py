"""Encrypts a stream to an age recipient (https://age-encryption.org/v1), with bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator

# age encrypts the payload in blocks of this size, and adds a tag to each.
_BLOCK = 64 * 1024
_TAG = 16
_HEADER = 256  # about


def encrypted_size(size: int) -> int:
    """Return the approximate size of `size` bytes once they are encrypted."""
    return size + (size // _BLOCK + 1) * _TAG + _HEADER


def encrypt(chunks: Iterable[bytes], recipient: str) -> Iterator[bytes]:
    """Yield the age file that holds `chunks`. Exceptions of `chunks` pass through."""
    from pyrage import encrypt_io, x25519  # type: ignore[attr-defined]  # a Rust module without stubs

    key = x25519.Recipient.from_str(recipient)
    read_end, write_end = os.pipe()
    source, failed = _Reader(chunks), []

    def work() -> None:
        # pyrage pushes into a file object, but a storage pulls from an iterator. A pipe connects them.
        try:
            with os.fdopen(write_end, "wb") as out:
                encrypt_io(source, out, [key])
        except BaseException as e:
            failed.append(source.error or e)

    worker = threading.Thread(target=work, name="encrypt", daemon=True)
    worker.start()
    try:
        with os.fdopen(read_end, "rb") as encrypted:
            while chunk := encrypted.read(1 << 20):
                yield chunk
    finally:
        worker.join()  # closing the pipe has ended it
    if failed:
        raise failed[0]


class _Reader:
    """A file object for `encrypt_io`. Keeps the exception that `encrypt_io` would replace with its own."""

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
