"""Bodies with Content-Encoding: gzip or deflate, valid, broken, and made to fill the memory."""

from __future__ import annotations

import gzip
import tracemalloc
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from functions.staging.content_encoding import CHUNK, decoded, encoding_of
from functions.staging.report import StageFailure
from functions.staging.retry import TransientError


def _raw(data: bytes) -> bytes:
    compressor = zlib.compressobj(wbits=-15)
    return compressor.compress(data) + compressor.flush()


ENCODERS: dict[str, Callable[[bytes], bytes]] = {"gzip": gzip.compress, "zlib": zlib.compress, "bare": _raw}
encoders = st.sampled_from(sorted(ENCODERS))


def _name(encoder: str) -> str:
    return "gzip" if encoder == "gzip" else "deflate"


def _pieces(data: bytes, size: int) -> Iterator[bytes]:
    return (data[at : at + size] for at in range(0, len(data), size))


@settings(deadline=None)
@given(encoders, st.binary(max_size=3000), st.integers(1, 400))
@example("gzip", b"", 1)
@example("bare", b"x", 1)
@example("zlib", bytes(CHUNK + 300), 1 << 20)
@example("gzip", bytes(4 * CHUNK), 1 << 20)
def test_any_split_of_a_body_is_decoded(encoder: str, data: bytes, size: int) -> None:
    encoded = ENCODERS[encoder](data)
    assert b"".join(decoded(_pieces(encoded, size), _name(encoder))) == data


@given(encoders, st.binary(min_size=1, max_size=300), st.data())
def test_a_body_that_ends_too_early_is_not_taken_for_whole(encoder: str, data: bytes, draw: st.DataObject) -> None:
    encoded = ENCODERS[encoder](data)
    cut = encoded[: draw.draw(st.integers(1, len(encoded) - 1))]
    with pytest.raises((TransientError, StageFailure)):
        list(decoded([cut], _name(encoder)))


@given(st.sampled_from(["gzip", "deflate"]), st.binary(max_size=300))
def test_any_bytes_are_decoded_or_refused(encoding: str, data: bytes) -> None:
    with suppress(StageFailure, TransientError):
        list(decoded([data], encoding))


def test_a_gzip_body_may_have_several_members_and_zeros_at_its_end() -> None:
    body = gzip.compress(b"one") + gzip.compress(b"two") + bytes(512)
    for size in (1, 7, 10_000):
        assert b"".join(decoded(_pieces(body, size), "gzip")) == b"onetwo"


@pytest.mark.parametrize("encoder", ["gzip", "zlib"])
def test_bytes_after_the_end_are_refused(encoder: str) -> None:
    with pytest.raises(StageFailure, match="not valid"):
        list(decoded([ENCODERS[encoder](b"one") + b"garbage"], _name(encoder)))


def test_a_compression_bomb_is_decoded_in_pieces() -> None:
    bomb = gzip.compress(bytes(200 << 20), compresslevel=9)
    tracemalloc.start()
    try:
        total = 0
        for piece in decoded([bomb], "gzip"):
            assert len(piece) <= CHUNK
            total += len(piece)
        assert total == 200 << 20
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("header", "encoding"),
    [
        (None, None),
        ("", None),
        ("identity", None),
        ("GZip", "gzip"),
        ("x-gzip, identity", "gzip"),
        ("deflate", "deflate"),
    ],
)
def test_supported_encodings(header: str | None, encoding: str | None) -> None:
    assert encoding_of(header) == encoding


@pytest.mark.parametrize("header", ["br", "zstd", "gzip, gzip", "nonsense\x1b[31m"])
def test_other_encodings_are_refused(header: str) -> None:
    with pytest.raises(StageFailure, match="only gzip and deflate"):
        encoding_of(header)
