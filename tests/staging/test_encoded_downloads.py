"""Downloads with Content-Encoding: whole, broken off, and too large once decoded."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from msgspec.structs import replace
from support.configuring import LOOPBACK, Configure
from support.datahost import DataHost, File, Held, Pattern, Request, only_headers

from functions.staging.guarded_http import GuardedHttp
from functions.staging.report import StageFailure

MB = 1 << 20


@pytest.mark.parametrize(
    ("name", "encode"), [("gzip", gzip.compress), ("x-gzip", gzip.compress), ("deflate", zlib.compress)]
)
def test_an_encoded_file_is_decoded(
    configure: Configure, host: DataHost, name: str, encode: Callable[[bytes], bytes]
) -> None:
    content = Pattern(3 * MB).part(0, 900_000) * 3
    host.routes["/a"] = File(Held(encode(content)), extra={"Content-Encoding": name})
    outcome = configure({"url": f"{host.url}/a"})
    assert outcome.read("inputs/0/0") == content
    assert outcome.json("provenance.json")["files"][0]["size"] == len(content)


def test_an_encoded_file_starts_again_after_a_break(configure: Configure, host: DataHost) -> None:
    content = bytes(Pattern(4 * MB).part(0, 1000)) * 40
    file = File(Held(gzip.compress(content, 0)), extra={"Content-Encoding": "gzip"}, break_after=9000)

    def once(request: Request) -> None:
        file(request)
        file.break_after = None

    host.routes["/a"] = once
    assert configure({"url": f"{host.url}/a"}).read("inputs/0/0") == content
    assert [seen.headers.get("range") for seen in host.seen] == [None, None]


def test_an_encoded_body_without_a_length_that_ends_too_early_is_not_whole(
    configure: Configure, host: DataHost
) -> None:
    host.routes["/a"] = only_headers({"Content-Encoding": "gzip"}, gzip.compress(b"one" * 1000)[:-4])
    outcome = configure({"url": f"{host.url}/a"})
    assert (outcome.code, outcome.reason) == (31, "DataUnavailable")
    assert "inputs/0/0" not in outcome.tree()


def test_a_part_that_is_encoded_means_to_start_again(configure: Configure, host: DataHost) -> None:
    plain = File(Pattern(2 * MB), break_after=MB)

    def encodes_parts(request: Request) -> None:
        if request.headers.get("Range"):
            body = gzip.compress(b"rest")
            size = f"bytes {MB}-{2 * MB - 1}/{2 * MB}"
            request.answer(206, body, Content_Encoding="gzip", Content_Range=size, ETag='"1"')
            plain.break_after = None
        else:
            plain(request)

    host.routes["/a"] = encodes_parts
    assert configure({"url": f"{host.url}/a"}).json("provenance.json")["files"][0]["sha256"] == Pattern(2 * MB).sha256


def test_a_compression_bomb_is_stopped_by_the_limit_of_bytes(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = File(Held(gzip.compress(bytes(64 * MB))), extra={"Content-Encoding": "gzip"})
    outcome = configure({"url": f"{host.url}/a"}, options=replace(LOOPBACK, max_bytes=2 * MB))
    assert outcome.reason == "DataTooLarge"


def test_an_encoded_answer_of_a_metadata_service_is_decoded_within_its_limit(host: DataHost) -> None:
    http = GuardedHttp(frozenset({"http"}), private=True)
    host.routes["/ok"] = File(Held(gzip.compress(b"{}")), extra={"Content-Encoding": "gzip"})
    assert http.read("GET", f"{host.url}/ok") == b"{}"
    host.routes["/bomb"] = File(Held(gzip.compress(bytes(64 * MB))), extra={"Content-Encoding": "gzip"})
    with pytest.raises(StageFailure, match="more than 1000 bytes"):
        http.read("GET", f"{host.url}/bomb", limit=1000)
