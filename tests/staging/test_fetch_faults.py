"""Servers that break, stall, lie and change their mind."""

import hashlib
import socket
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from support.configuring import FEW_RETRIES, Configure
from support.datahost import DataHost, File, Held, Pattern, Request

from functions.backoff import Backoff
from functions.staging.guarded_http import GuardedHttp
from functions.staging.retry import RetryPolicy, TransientError

MB = 1 << 20


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


@pytest.mark.parametrize(
    "validator", [("ETag", '"1"'), ("Last-Modified", "Sun, 22 Nov 2026 03:00:00 GMT")], ids=["etag", "date"]
)
def test_a_download_resumes_where_its_connection_broke(
    configure: Configure, host: DataHost, validator: tuple[str, str]
) -> None:
    content = Pattern(10 * MB + 77)
    host.routes["/a"] = File(content, validator, break_after=MB)
    outcome = configure({"url": f"{host.url}/a"})
    assert outcome.code == 0
    assert outcome.json("provenance.json")["files"][0]["sha256"] == content.sha256
    assert _digest(outcome.volume / "inputs/0/0") == content.sha256
    assert [s.headers.get("range") for s in host.seen] == [None, *(f"bytes={n * MB}-" for n in range(1, 11))]


def test_a_download_without_a_validator_starts_again_after_a_break(configure: Configure, host: DataHost) -> None:
    file = File(Pattern(3 * MB), validator=None, break_after=MB)

    def once(request: Request) -> None:
        file(request)
        file.break_after = None

    host.routes["/a"] = once
    outcome = configure({"url": f"{host.url}/a"})
    assert outcome.code == 0
    assert [s.headers.get("range") for s in host.seen] == [None, None]
    assert _digest(outcome.volume / "inputs/0/0") == Pattern(3 * MB).sha256


def test_a_weak_etag_is_not_used_to_resume(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = File(Pattern(3 * MB), ("ETag", 'W/"1"'), break_after=MB)
    assert configure({"url": f"{host.url}/a"}).reason == "DataUnavailable"
    assert not [s for s in host.seen if "range" in s.headers]


def test_a_file_that_changes_between_two_connections_is_fetched_again(configure: Configure, host: DataHost) -> None:
    after = Held(b"new" * MB)
    old, new = File(Pattern(3 * MB), ("ETag", '"old"'), break_after=MB), File(after, ("ETag", '"new"'))

    def change(request: Request) -> None:
        old(request)
        host.routes["/a"] = new

    host.routes["/a"] = change
    outcome = configure({"url": f"{host.url}/a"})
    assert outcome.code == 0
    assert outcome.read("inputs/0/0") == after
    assert outcome.progress is not None
    assert outcome.progress.bytes == len(after) + 1


def test_an_answer_with_another_range_is_refused(configure: Configure, host: DataHost) -> None:
    def wrong(request: Request) -> None:
        if request.headers.get("Range"):
            request.answer(206, b"zz", ETag='"1"', Content_Range=f"bytes 7-8/{3 * MB}")
        else:
            File(Pattern(3 * MB), break_after=MB)(request)

    host.routes["/a"] = wrong
    assert configure({"url": f"{host.url}/a"}).reason == "DataUnavailable"


def test_a_stalled_connection_is_resumed(configure: Configure, host: DataHost) -> None:
    content = Pattern(2 * MB)
    host.routes["/a"] = File(content, stall_after=MB)
    outcome = configure({"url": f"{host.url}/a"})
    assert outcome.code == 0
    assert _digest(outcome.volume / "inputs/0/0") == content.sha256
    assert "stalls" not in outcome.message


def test_a_server_that_always_stalls_fails_with_a_reason(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = File(Pattern(MB), stall_after=0, stalls=9)
    outcome = configure({"url": f"{host.url}/a"})
    assert (outcome.code, outcome.message) == (31, "DataUnavailable: inputs/0/0: the server stalls (3 times in a row)")


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
def test_transient_statuses_are_retried(configure: Configure, host: DataHost, status: int) -> None:
    def at_first(request: Request) -> None:
        request.answer(status, b"later", Retry_After="0")
        host.routes["/a"] = File(Held(b"one"))

    host.routes["/a"] = at_first
    assert configure({"url": f"{host.url}/a"}).read("inputs/0/0") == b"one"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 451])
def test_permanent_statuses_are_not_retried(configure: Configure, host: DataHost, status: int) -> None:
    host.routes["/a"] = lambda request: request.answer(status, b"no")
    outcome = configure({"url": f"{host.url}/a"})
    assert (outcome.code, len(host.seen)) == (31, 1)
    assert str(status) in outcome.message


def test_a_body_shorter_than_its_length_fails(configure: Configure, host: DataHost) -> None:
    def lie(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", "1000")
        request.end_headers()
        request.wfile.write(b"x" * 10)
        request.hang_up()

    host.routes["/a"] = lie
    outcome = configure({"url": f"{host.url}/a"})
    assert (outcome.code, outcome.reason) == (31, "DataUnavailable")
    assert "inputs/0/0" not in outcome.tree()


@pytest.mark.parametrize("encoding", ["gzip", "br", "nonsense", "gzip, identity"])
def test_a_body_that_cannot_be_decoded_is_refused(configure: Configure, host: DataHost, encoding: str) -> None:
    host.routes["/a"] = File(Held(b"\x1f\x8bnot gzip at all"), extra={"Content-Encoding": encoding})
    outcome = configure({"url": f"{host.url}/a"})
    assert (outcome.code, outcome.reason) == (31, "DataUnavailable")
    assert host.seen[0].headers["accept-encoding"] == "identity"
    assert len(host.seen) == 1


@pytest.mark.parametrize("garbage", [b"zz\r\nabc\r\n0\r\n\r\n", b"5\r\nab", b"-5\r\nabcde\r\n0\r\n\r\n", b""])
def test_invalid_chunked_encoding_is_a_broken_connection(configure: Configure, host: DataHost, garbage: bytes) -> None:
    def chunked(request: Request) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(garbage)
        request.hang_up()

    host.routes["/a"] = chunked
    assert configure({"url": f"{host.url}/a"}).reason == "DataUnavailable"


def test_a_chunked_body_of_unknown_size_is_fetched(configure: Configure, host: DataHost) -> None:
    def chunked(request: Request) -> None:
        request.send_response(200)
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        request.wfile.write(b"3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n")

    host.routes["/a"] = chunked
    assert configure({"url": f"{host.url}/a"}).read("inputs/0/0") == b"abcdefg"


def test_an_answer_that_is_not_http_is_a_broken_connection(configure: Configure, host: DataHost) -> None:
    def rubbish(request: Request) -> None:
        request.wfile.write(b"\x00\xff" * 100)
        request.hang_up()

    host.routes["/a"] = rubbish
    assert configure({"url": f"{host.url}/a"}).reason == "DataUnavailable"


def test_an_empty_file_is_stored(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = File(Held(b""))
    assert configure({"url": f"{host.url}/a"}).read("inputs/0/0") == b""


def test_one_failed_download_stops_the_others(configure: Configure, host: DataHost) -> None:
    begun = threading.Event()
    sent = [0]

    def wait_and_refuse(request: Request) -> None:
        begun.wait(10)
        request.answer(404)

    def drip(request: Request) -> None:
        request.send_response(200)
        request.send_header("Content-Length", str(1 << 29))
        request.end_headers()
        while True:
            sent[0] += request.wfile.write(b"x" * (1 << 16))
            begun.set()
            time.sleep(0.005)

    host.routes |= {"/no": wait_and_refuse, "/drip": drip}
    outcome = configure({"url": [f"{host.url}/drip", f"{host.url}/no"]})
    assert outcome.message == "DataUnavailable: inputs/0/1: the server answers 404"
    assert sent[0] < 64 * MB


def test_several_files_are_downloaded_at_once(configure: Configure, host: DataHost) -> None:
    together = threading.Barrier(4, timeout=10)

    def wait(request: Request) -> None:
        together.wait()
        request.answer(200, b"x")

    host.routes["/a"] = wait
    assert configure({"url": [f"{host.url}/a"] * 4}).code == 0


def test_delays_double_up_to_a_limit_and_obey_retry_after() -> None:
    retries = RetryPolicy(backoff=Backoff(first=1, factor=2, longest=8))
    delays = [retries.delay(n, TransientError("x")) for n in range(1, 8)]
    for delay, longest in zip(delays, (1, 2, 4, 8, 8, 8, 8), strict=True):
        assert longest / 2 <= delay <= longest
    assert retries.delay(1, TransientError("x", after=70.0)) == 70.0


def test_a_download_is_retried_as_long_as_bytes_arrive(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = File(Pattern(40_000), break_after=1000)
    assert configure({"url": f"{host.url}/a"}, retries=FEW_RETRIES).code == 0
    assert len(host.seen) == 40


@pytest.mark.parametrize("status", [412, 416])
def test_a_download_starts_again_if_the_server_refuses_the_range(
    configure: Configure, host: DataHost, status: int
) -> None:
    def moody(request: Request) -> None:
        if request.headers.get("Range"):
            request.answer(status)
            host.routes["/a"] = File(Held(b"whole"))
        else:
            File(Pattern(3 * MB), break_after=MB)(request)

    host.routes["/a"] = moody
    assert configure({"url": f"{host.url}/a"}).read("inputs/0/0") == b"whole"
    assert [s.headers.get("range") for s in host.seen] == [None, f"bytes={MB}-", None]


def test_a_host_that_never_answered_gets_fewer_tries(configure: Configure, host: DataHost) -> None:
    retries = RetryPolicy(tries=6, absent=4, backoff=Backoff(0.001, 1, 0.001))
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    refused = configure({"url": f"http://127.0.0.1:{closed}/a"}, retries=retries)
    assert refused.message == "DataUnavailable: inputs/0/0: the server cannot be reached (4 times in a row)"

    def no_name(name: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        raise OSError

    http = GuardedHttp(frozenset({"http"}), retries=retries, lookup=no_name)
    unknown = configure({"url": "http://nowhere.invalid/a"}, retries=retries, http=http)
    assert unknown.message.endswith("the name nowhere.invalid does not resolve (4 times in a row)")
    host.routes["/a"] = lambda request: request.answer(503)
    failing = configure({"url": f"{host.url}/a"}, retries=retries)
    assert failing.message == "DataUnavailable: inputs/0/0: the server answers 503 (6 times in a row)"


def test_a_host_that_vanishes_after_some_bytes_gets_all_tries(configure: Configure, host: DataHost) -> None:
    lookups: list[str] = []

    def once(name: str, port: int, **_: Any) -> list[tuple[Any, ...]]:
        lookups.append(name)
        if len(lookups) > 1:
            raise OSError
        return [(0, 0, 0, "", ("127.0.0.1", port))]

    host.routes["/a"] = File(Pattern(3 * MB), break_after=MB)
    retries = RetryPolicy(tries=6, absent=4, backoff=Backoff(0.001, 1, 0.001))
    http = GuardedHttp(frozenset({"http"}), private=True, retries=retries, lookup=once)
    outcome = configure({"url": f"http://data.example:{host.port}/a"}, retries=retries, http=http)
    assert outcome.message.endswith("(6 times in a row)")
