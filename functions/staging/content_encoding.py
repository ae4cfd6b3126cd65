"""Decodes a body that a server sends with Content-Encoding: gzip or deflate, with bounded memory."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from functions.staging.report import StageFailure
from functions.staging.retry import TransientError

CHUNK = 1 << 20  # bytes; no decoded piece is larger, however well it was compressed
_GZIP, _ZLIB, _DEFLATE = 31, 15, -15  # zlib's window bits for each format


def encoding_of(header: str | None) -> str | None:
    """Return `gzip` or `deflate`, or None for a body that is not encoded. Raises StageFailure for other encodings."""
    named = [part.strip().lower() for part in (header or "").split(",")]
    encodings = [part for part in named if part not in ("", "identity")]
    match encodings:
        case []:
            return None
        case ["gzip" | "x-gzip"]:
            return "gzip"
        case ["deflate"]:
            return "deflate"
        case _:
            given = ", ".join(encodings)[:40]
            raise StageFailure(
                "DataUnavailable", f"the server sends the encoding {given!r}; only gzip and deflate are supported"
            )


def decoded(chunks: Iterable[bytes], encoding: str) -> Iterator[bytes]:
    """Yield the decoded body in pieces of at most CHUNK bytes. A body without a byte stays empty.

    Raises StageFailure if the body is not valid, and TransientError if it ends too early.
    """
    decoder: zlib._Decompress | None = None
    complete = True  # before the first byte, and at the end of each gzip member: there may be several
    try:
        for chunk in _beginning_with(2, chunks):
            data = chunk
            while data:
                if complete and decoder is not None:
                    data = data.lstrip(b"\0")  # padding after a member
                    if not data:
                        break
                if decoder is None or complete:
                    decoder = _new_decoder(data, encoding, first=decoder is None)
                yield from _inflate(decoder, data)
                complete, data = decoder.eof, decoder.unused_data
    except zlib.error:
        raise StageFailure("DataUnavailable", f"the body is not valid {encoding}") from None
    if not complete:
        raise TransientError("the encoded body ends too early")


def _inflate(decoder: zlib._Decompress, data: bytes) -> Iterator[bytes]:
    """Yield what `decoder` makes of `data`, in bounded pieces."""
    while True:
        piece = decoder.decompress(data, CHUNK)
        if piece:
            yield piece
        data = decoder.unconsumed_tail
        # A full piece may leave more in the decoder, even if it has read all data.
        if decoder.eof or (not data and len(piece) < CHUNK):
            return


def _new_decoder(data: bytes, encoding: str, *, first: bool) -> zlib._Decompress:
    if encoding == "gzip":
        return zlib.decompressobj(_GZIP)
    if not first:
        raise zlib.error  # bytes after the end
    # RFC 9110 says zlib, but some servers send the bare format. A zlib header is divisible by 31.
    is_zlib = len(data) >= 2 and data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
    return zlib.decompressobj(_ZLIB if is_zlib else _DEFLATE)


def _beginning_with(least: int, chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield `chunks`, with the first ones joined until they have `least` bytes."""
    pending: bytes | None = b""
    for chunk in chunks:
        if pending is None:
            yield chunk
            continue
        pending += chunk
        if len(pending) >= least:
            yield pending
            pending = None
    if pending:
        yield pending
