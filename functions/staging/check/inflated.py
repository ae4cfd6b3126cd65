"""Inflates hostile bytes with bounded memory, to count what comes out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import Struct

PIECE = 64 << 10  # bytes that go in at once
MOST_OUT = 1 << 20  # bytes that come out at once


class Inflated(Struct):
    """What came out of an inflater of zlib: how many bytes, the first of them, and whether others follow its end."""

    inflater: Any
    size: int = 0
    head: bytes = b""
    rest: bool = False

    def feed(self, chunks: Iterable[bytes], most: int, keep: int = 0) -> None:
        """Inflate, until more than `most` bytes have come out. Keeps the first `keep` bytes. Raises zlib.error."""
        for chunk in chunks:
            for at in range(0, len(chunk), PIECE):
                piece = chunk[at : at + PIECE]
                if self.inflater.eof:
                    self.rest = True
                    return
                while piece:
                    out = self.inflater.decompress(piece, MOST_OUT)
                    self.size += len(out)
                    if len(self.head) < keep:
                        self.head += out[: keep - len(self.head)]
                    if self.size > most:
                        return
                    piece = self.inflater.unconsumed_tail
                self.rest = self.rest or bool(self.inflater.unused_data)
