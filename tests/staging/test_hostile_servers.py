"""Servers that send what no server should: every answer ends in a file or in a named, final failure."""

from __future__ import annotations

import gzip
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from support.configuring import FEW_RETRIES, LOOPBACK, Configure
from support.datahost import DataHost, File, Held, Pattern, Request, only_headers

from functions.staging.configure.budget import FetchBudget
from functions.staging.configure.sources import HttpSource
from functions.staging.guarded_http import GuardedHttp
from functions.staging.progress import ProgressReporter
from functions.staging.report import StageFailure
from functions.staging.retry import TransientError

MB = 1 << 20
LONG = "9" * 5000


@pytest.mark.parametrize(
    "location", ["http://[", "//[", "http://[::1", "http://a:²/", "http://a:99999/", "http://\x7f/"]
)
def test_a_malformed_location_is_a_final_failure(configure: Configure, host: DataHost, location: str) -> None:
    host.routes["/a"] = only_headers({"Location": location}, status=302)
    outcome = configure({"url": f"{host.url}/a"})
    assert (outcome.code, outcome.reason, len(host.seen)) == (31, "DataUnavailable", 1)
    assert "malformed" in outcome.message


def test_utf_8_in_a_location_is_followed(configure: Configure, host: DataHost) -> None:
    host.routes |= {
        "/a": only_headers({"Location": "/größe/ü?x=ü"}, status=302),
        "/gr%C3%B6%C3%9Fe/%C3%BC": File(Held(b"one")),
    }
    assert configure({"url": f"{host.url}/a"}).read("inputs/0/0") == b"one"
    assert host.paths()[-1] == "/gr%C3%B6%C3%9Fe/%C3%BC?x=%C3%BC"


@pytest.mark.parametrize(
    "value", ["²", LONG, "-1", "soon", "Mon, 00 Nov 0000 99:99:99 GMT"], ids=lambda value: value[:20]
)
def test_an_invalid_retry_after_falls_back_to_the_usual_pause(configure: Configure, host: DataHost, value: str) -> None:
    def once(request: Request) -> None:
        only_headers({"Retry-After": value}, status=503)(request)
        host.routes["/a"] = File(Held(b"one"))

    host.routes["/a"] = once
    assert configure({"url": f"{host.url}/a"}).read("inputs/0/0") == b"one"


@pytest.mark.parametrize("value", ["²", LONG, "-1", "1, 1", "x"], ids=lambda value: value[:20])
def test_an_invalid_content_length_counts_as_unknown(configure: Configure, host: DataHost, value: str) -> None:
    host.routes["/a"] = only_headers({"Content-Length": value}, b"x")
    assert configure({"url": f"{host.url}/a"}).read("inputs/0/0") == b"x"


def test_contradicting_lengths_are_a_final_failure(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = only_headers({"Content-Length": "1, 2"})
    outcome = configure({"url": f"{host.url}/a"})
    assert (outcome.code, outcome.reason, len(host.seen)) == (31, "DataUnavailable", 1)


@pytest.mark.parametrize(
    "value",
    ["bytes ²-²/²", f"bytes 0-{LONG}/*", f"bytes 0-0/{LONG}", "bytes 1-0/5", "nonsense"],
    ids=lambda value: value[:20],
)
def test_an_invalid_content_range_is_a_failure(configure: Configure, host: DataHost, value: str) -> None:
    host.routes["/a"] = only_headers({"Content-Range": value, "Content-Length": "1"}, status=206)
    outcome = configure({"url": f"{host.url}/a"})
    assert (outcome.code, outcome.reason) == (31, "DataUnavailable")


@pytest.mark.parametrize("value", ["²", LONG], ids=lambda value: value[:20])
def test_an_invalid_length_from_an_ipfs_node_counts_as_unknown(
    configure: Configure, host: DataHost, value: str
) -> None:
    host.routes["/api/v0/cat"] = only_headers({"X-Content-Length": value}, b"one")
    options = replace(LOOPBACK, ipfs_gateway=f"{host.url}/api/v0")
    assert configure({"url": "ipfs://bafy"}, options=options).read("inputs/0/0") == b"one"


def test_a_folded_validator_is_not_sent_back(configure: Configure, host: DataHost) -> None:
    file = File(Pattern(2 * MB), None, break_after=MB, extra={"ETag": '"1"\r\n X: y'})

    def once(request: Request) -> None:
        file(request)
        file.break_after = None

    host.routes["/a"] = once
    assert configure({"url": f"{host.url}/a"}).code == 0
    assert "if-range" not in host.seen[-1].headers


def test_headers_that_end_in_the_middle_are_not_an_empty_file(configure: Configure, host: DataHost) -> None:
    for cut in (
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Le",
        b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n",
    ):

        def partial(request: Request, cut: bytes = cut) -> None:
            request.wfile.write(cut)
            request.hang_up()

        host.routes["/a"] = partial
        outcome = configure({"url": f"{host.url}/a"})
        assert (outcome.code, outcome.reason) == (31, "DataUnavailable"), cut
        assert "inputs/0/0" not in outcome.tree()


def test_slow_headers_count_towards_the_time_of_all_downloads(configure: Configure, host: DataHost) -> None:
    """Each header line arrives before the connection counts as stalled, and there is no end of them."""
    lines = 0

    def drip(request: Request) -> None:
        nonlocal lines
        with suppress(OSError):
            request.wfile.write(b"HTTP/1.1 200 OK\r\n")
            while lines < 90:
                request.wfile.write(b"X-%d: y\r\n" % lines)
                lines += 1
                time.sleep(0.1)

    host.routes["/a"] = drip
    outcome = configure({"url": f"{host.url}/a"}, options=replace(LOOPBACK, seconds=1))
    assert outcome.message == "DataUnavailable: inputs/0/0: not fetched within 1 seconds"
    assert lines < 90


@pytest.mark.parametrize("transfer", ["gzip, chunked", "gzip", "chunked, chunked", "nonsense"])
def test_an_unknown_transfer_encoding_is_a_final_failure(configure: Configure, host: DataHost, transfer: str) -> None:
    body = gzip.compress(b"one")
    host.routes["/a"] = only_headers({"Transfer-Encoding": transfer}, b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))
    outcome = configure({"url": f"{host.url}/a"})
    assert (outcome.code, outcome.reason, len(host.seen)) == (31, "DataUnavailable", 1)
    assert "Transfer-Encoding" in outcome.message


_HOSTILE_JSON = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b'{"a": "\\ud800"}',
    b'{"a": "\xed\xa0\x80"}',
    b'{"a": ' + LONG.encode() + b"}",
    b"NaN",
    b"\xff\xfe{}",
]


@pytest.mark.parametrize("answer", _HOSTILE_JSON)
def test_a_hostile_ddo_does_not_fail_a_stage_that_can_do_without_it(
    configure: Configure, host: DataHost, answer: bytes
) -> None:
    host.routes |= {"/a": File(Held(b"one")), "/api/aquarius/assets/ddo/did:op:aa": lambda r: r.answer(200, answer)}
    outcome = configure({"id": "did:op:aa", "url": f"{host.url}/a"}, output={"metadataUri": host.url})
    assert (outcome.code, [name for name in outcome.tree() if name.startswith("ddos/")]) == (0, [])


@contextmanager
def _raw_server(answers: list[bytes]) -> Iterator[str]:
    """A server that answers each connection with the next of these bytes, whatever is asked."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            for answer in answers:
                with suppress(OSError):
                    connection, _ = listening.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answer)
                        connection.shutdown(socket.SHUT_WR)
                        connection.recv(1)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/a"


_NAMES = [
    "Content-Length",
    "Content-Range",
    "Content-Encoding",
    "Transfer-Encoding",
    "Location",
    "Retry-After",
    "ETag",
    "X",
]


_VALUES = st.one_of(
    st.sampled_from(
        ["0", "3", "²", LONG, "chunked", "gzip", "deflate", "http://[", "bytes 0-2/3", "bytes ²-²/*", '"e"']
    ),
    st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), max_size=20),
)


_ANSWERS = st.one_of(
    st.binary(max_size=200),
    st.builds(
        lambda status, headers, body, end: (
            (f"HTTP/1.1 {status}\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers)).encode() + end + body
        ),
        st.sampled_from(
            ["200 OK", "206 Partial", "302 Found", "307 X", "404 Not", "503 Later", "²00 OK", "999", "100 Continue"]
        ),
        st.lists(st.tuples(st.sampled_from(_NAMES), _VALUES), max_size=5),
        st.one_of(st.binary(max_size=50), st.just(gzip.compress(b"abc")), st.just(b"3\r\nabc\r\n0\r\n\r\n")),
        st.sampled_from([b"\r\n", b"\n", b""]),
    ),
)


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_ANSWERS, min_size=1, max_size=3))
@example([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 150 + b"\r\n"])
@example([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"])
@example([b"HTTP/1.1 200 OK\r\n : x\r\nContent-Length: 1\r\n\r\nx"])
def test_any_answer_is_a_body_or_one_of_the_two_errors(answers: list[bytes]) -> None:
    http = GuardedHttp(frozenset({"http"}), private=True, retries=FEW_RETRIES)
    with (
        _raw_server(answers) as url,
        suppress(StageFailure, TransientError),
        HttpSource(http, url, "http").open(0, None) as body,
    ):
        for chunk in body.chunks:
            assert chunk
        assert body.start >= 0


def test_every_header_that_the_client_sends_back_is_one_it_can_send(host: DataHost) -> None:
    http = GuardedHttp(frozenset({"http"}), private=True)
    for etag in ('"a"\r\n b', '"\xff"', '"' + "x" * 5000 + '"', "\x00"):
        host.routes["/a"] = File(Held(b"x"), ("ETag", etag), extra={"Last-Modified": etag})
        with HttpSource(http, f"{host.url}/a", "http").open(0, None) as body:
            assert body.version is None


def test_a_budget_that_is_over_ends_a_request_before_it_connects(host: DataHost, tmp_path: Any) -> None:
    budget = FetchBudget(replace(LOOPBACK, seconds=0), tmp_path, ProgressReporter(lambda _: None))
    http = GuardedHttp.for_options(LOOPBACK, FEW_RETRIES, budget.time_left)
    with pytest.raises(StageFailure, match="not fetched within"):
        http.read("GET", f"{host.url}/a")
    assert host.seen == []
