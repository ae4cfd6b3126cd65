"""Results that operator-engine published: rows with plain https: URLs, read over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from support.serving import serving

from functions.results import http_files
from functions.results.ports import NotFound, StorageTimeout, StorageUnavailable
from functions.results.storage import open_url
from functions.workflow.model import ResultFile

CONTENT = b"0123456789"
Answer = Callable[[BaseHTTPRequestHandler], None]


class Host(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, answer: Answer) -> None:
        self.seen: list[dict[str, str]] = []

        class Handler(BaseHTTPRequestHandler):
            server: Host

            def log_message(self, *args: Any) -> None: ...

            def do_GET(self) -> None:
                self.server.seen.append(dict(self.headers))
                answer(self)

        super().__init__(("127.0.0.1", 0), Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


def reply(status: int, headers: dict[str, str], body: bytes = CONTENT) -> Answer:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)

    return answer


@pytest.fixture
def host() -> Iterator[Callable[[Answer], Host]]:
    with ExitStack() as stack:
        yield lambda answer: stack.enter_context(serving(Host(answer)))


def read(
    url: str, tmp_path: Path, start: int = 0, end: int | None = None, known: dict[str, str] | None = None
) -> tuple[bytes, int]:
    storage = open_url(tmp_path.as_uri(), known or {})
    content = storage.open(ResultFile("outputs/a", 10, "output", f"{url}/J/data/outputs/a"), start, end)
    try:
        return b"".join(content.chunks), content.size
    finally:
        content.close()


def test_an_old_file_is_read_whole(host: Callable[[Answer], Host], tmp_path: Path) -> None:
    assert read(host(reply(200, {})).url, tmp_path) == (CONTENT, 10)


def test_a_range_is_passed_on(host: Callable[[Answer], Host], tmp_path: Path) -> None:
    served = host(reply(206, {"Content-Range": "bytes 3-5/10"}, b"345"))
    assert read(served.url, tmp_path, 3, 6) == (b"345", 10)
    assert served.seen[0]["Range"] == "bytes=3-5"


def test_a_range_from_a_host_without_ranges_is_cut_from_the_whole_file(
    host: Callable[[Answer], Host], tmp_path: Path
) -> None:
    served = host(reply(200, {}))
    assert read(served.url, tmp_path, 3, 6) == (b"345", 10)
    assert read(served.url, tmp_path, 8) == (b"89", 10)


def test_api_keys_go_only_to_the_configured_hosts(host: Callable[[Answer], Host], tmp_path: Path) -> None:
    other = host(reply(200, {}))
    storage = host(reply(302, {"Location": f"{other.url}/moved"}, b""))
    known = {"X-API-KEY": "k", "CLIENT-ID": "c", "AWS_ENDPOINT_URL": storage.url}
    assert read(storage.url, tmp_path, known=known) == (CONTENT, 10)
    assert (storage.seen[0]["X-API-KEY"], storage.seen[0]["CLIENT-ID"]) == ("k", "c")
    assert not {"X-API-KEY", "CLIENT-ID"} & set(other.seen[0])
    read(other.url, tmp_path, known=known)
    assert not {"X-API-KEY", "CLIENT-ID"} & set(other.seen[1])


@pytest.mark.parametrize(
    ("status", "headers", "error"),
    [
        (404, {}, NotFound),
        (410, {}, NotFound),
        (500, {}, StorageUnavailable),
        (403, {}, StorageUnavailable),
        (200, {"Content-Encoding": "gzip"}, StorageUnavailable),
        (206, {"Content-Range": "bytes 7-9/10"}, StorageUnavailable),
        (206, {"Content-Range": "garbage"}, StorageUnavailable),
        (206, {"Content-Range": "bytes 0-9/" + "9" * 5000}, StorageUnavailable),
        (206, {"Content-Range": "bytes " + "9" * 5000 + "-1/*"}, StorageUnavailable),
        (302, {"Location": "http://["}, StorageUnavailable),
        (302, {"Location": "/again"}, StorageUnavailable),
        (302, {"Location": "file:///etc/passwd"}, StorageUnavailable),
    ],
)
def test_answers_that_are_not_the_file_are_errors(
    host: Callable[[Answer], Host], tmp_path: Path, status: int, headers: dict[str, str], error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        read(host(reply(status, headers)).url, tmp_path)
    assert "127.0.0.1" not in str(raised.value)


def test_an_invalid_length_counts_as_unknown(host: Callable[[Answer], Host], tmp_path: Path) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n" + CONTENT)
        handler.close_connection = True

    assert read(host(answer).url, tmp_path)[0] == CONTENT


def test_invalid_http_a_broken_body_and_a_closed_port_are_unavailable(
    host: Callable[[Answer], Host], tmp_path: Path
) -> None:
    def write_garbage(handler: BaseHTTPRequestHandler) -> None:
        handler.wfile.write(b"\x00\xffnot http\r\n\r\n")

    garbage = host(write_garbage)
    short = host(reply(200, {"Content-Length": "10"}, b"01234"))
    for url in (garbage.url, short.url, "http://127.0.0.1:1"):
        with pytest.raises(StorageUnavailable):
            read(url, tmp_path)


def test_a_host_that_stalls_is_a_timeout(
    host: Callable[[Answer], Host], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http_files, "READ_SECONDS", 0.2)

    def stall(handler: BaseHTTPRequestHandler) -> None:
        handler.connection.recv(1)  # until the client gives up

    with pytest.raises(StorageTimeout):
        read(host(stall).url, tmp_path)
