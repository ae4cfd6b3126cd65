"""Encrypts a stream to an age recipient (https://age-encryption.org/v1), with bounded memory."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Iterator

_BLOCK = 64 * 1024  # age seals the payload in blocks of this size …
_TAG = 16  # … each with a tag of this one
_HEADER = 256  # about


def encrypted_size(size: int) -> int:
    """About how large `size` bytes become."""
    return size + (size // _BLOCK + 1) * _TAG + _HEADER


def encrypt(chunks: Iterable[bytes], recipient: str) -> Iterator[bytes]:
    """The age file that holds `chunks`. An exception that `chunks` raise goes through."""
    from pyrage import encrypt_io, x25519  # type: ignore[attr-defined]  # made in Rust, without stubs

    key = x25519.Recipient.from_str(recipient)
    read_end, write_end = os.pipe()
    source, failed = _Reader(chunks), []

    def work() -> None:
        # pyrage pushes into a writer, a storage pulls from an iterator: a pipe lies between.
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
    """What `encrypt_io` reads from; keeps the exception that it would replace by its own."""

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
