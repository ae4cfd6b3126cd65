"""getResult's answers, from a real server to a real client."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import urllib3
from support.serving import serving
from werkzeug.serving import BaseWSGIServer, WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from functions.api.http import HttpError
from functions.api.json_answers import answer
from functions.results.files import FileStorage
from functions.results.ports import Content, NotFound, StorageTimeout, StorageUnavailable
from functions.status.results import disposition, respond
from functions.workflow.model import ResultFile

CONTENT = bytes(range(256)) * 40
SHA = hashlib.sha256(CONTENT).hexdigest()
Get = Callable[..., urllib3.BaseHTTPResponse]


class Failing:
    """A storage that opens with an error, or breaks off after `sent` bytes."""

    def __init__(self, error: Exception, sent: int | None = None) -> None:
        self.error, self.sent, self.closed = error, sent, 0

    def open(self, file: ResultFile, start: int = 0, end: int | None = None) -> Content:
        if self.sent is None:
            raise self.error
        return Content(self._chunks(self.sent), file.size, self._close)

    def _chunks(self, sent: int) -> Iterator[bytes]:
        yield b"x" * sent
        raise self.error

    def _close(self) -> None:
        self.closed += 1


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log(self, *args: Any) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[ResultFile, Any], Get]]:
    """Serves one file from a storage; returns a client."""
    with ExitStack() as stack:

        def start(file: ResultFile, storage: Any) -> Get:
            @Request.application
            def app(request: Request) -> Response:
                try:
                    return respond(request, file, storage)
                except HttpError as e:
                    return answer({"error": e.message}, e.status, e.headers)

            server: BaseWSGIServer = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
            stack.enter_context(serving(server))
            pool = stack.enter_context(urllib3.PoolManager(retries=False))

            def get(method: str = "GET", **headers: str) -> urllib3.BaseHTTPResponse:
                named = {name.replace("_", "-"): value for name, value in headers.items()}
                return pool.request(method, f"http://127.0.0.1:{server.server_port}/", headers=named)

            return get

        yield start


@pytest.fixture
def stored(tmp_path: Path) -> tuple[ResultFile, FileStorage]:
    storage = FileStorage(tmp_path / "internal-place")
    url = storage.put("w1/1/outputs/plots/model.pkl", [CONTENT], len(CONTENT), "")
    return ResultFile("outputs/plots/model.pkl", len(CONTENT), "output", url, SHA, "application/x-pickle"), storage


@pytest.fixture
def get(serve: Callable[[ResultFile, Any], Get], stored: tuple[ResultFile, FileStorage]) -> Get:
    return serve(*stored)


def test_a_whole_file_is_sent_with_its_headers(get: Get) -> None:
    response = get()
    assert (response.status, response.data) == (200, CONTENT)
    headers = response.headers
    assert headers["Content-Length"] == str(len(CONTENT))
    assert headers["Content-Type"] == "application/x-pickle"
    assert headers["Content-Disposition"] == "attachment;filename=model.pkl"
    assert headers["Access-Control-Expose-Headers"] == "Content-Disposition"
    assert headers["ETag"] == f'"{SHA}"'
    assert headers["Accept-Ranges"] == "bytes"
    assert "internal-place" not in str(headers)


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=100-199", 100, 200),
        ("bytes=10000-", 10000, 10240),
        ("bytes=-40", 10200, 10240),
        ("bytes=10239-99999", 10239, 10240),
        ("bytes=-99999", 0, 10240),
    ],
)
def test_one_range_is_answered_with_that_part(get: Get, asked: str, start: int, end: int) -> None:
    response = get(Range=asked)
    assert (response.status, response.data) == (206, CONTENT[start:end])
    assert response.headers["Content-Range"] == f"bytes {start}-{end - 1}/10240"
    assert response.headers["Content-Length"] == str(end - start)


@pytest.mark.parametrize("asked", ["bytes=10240-", "bytes=99999-100000"])
def test_a_range_behind_the_end_is_416(get: Get, asked: str) -> None:
    response = get(Range=asked)
    assert response.status == 416
    assert response.headers["Content-Range"] == "bytes */10240"
    assert response.json() == {"error": "the result has 10240 bytes"}


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "lines=0-1", "bytes=5-1", "bytes=a-b", "nonsense", "bytes=-"])
def test_ranges_that_are_not_one_range_of_bytes_are_answered_with_the_whole(get: Get, asked: str) -> None:
    assert (get(Range=asked).status, get(Range=asked).data) == (200, CONTENT)


def test_a_download_resumes_only_the_same_version(get: Get) -> None:
    assert get(Range="bytes=5-", If_Range=f'"{SHA}"').status == 206
    assert get(Range="bytes=5-", If_Range='"another"').status == 200
    assert get(Range="bytes=5-", If_Range="Wed, 21 Oct 2015 07:28:00 GMT").status == 200


def test_a_file_that_the_client_already_has_is_not_sent_again(get: Get) -> None:
    response = get(If_None_Match=f'"{SHA}"')
    assert (response.status, response.data) == (304, b"")
    assert get(If_None_Match='"another"').status == 200


def test_head_returns_the_same_headers_without_a_body(get: Get) -> None:
    whole, head = get(), get("HEAD")
    ignored = {"Date"}
    assert {k: v for k, v in head.headers.items() if k not in ignored} == {
        k: v for k, v in whole.headers.items() if k not in ignored
    }
    assert head.data == b""
    assert get("HEAD", Range="bytes=1-2").headers["Content-Range"] == "bytes 1-2/10240"


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("model.pkl", "attachment;filename=model.pkl"),
        ("plots/deep/a.svg", "attachment;filename=a.svg"),
        ("two words.csv", "attachment;filename=\"two words.csv\";filename*=UTF-8''two%20words.csv"),
        ("Modèle.csv", "attachment;filename=\"Modele.csv\";filename*=UTF-8''Mod%C3%A8le.csv"),
        ("図表.svg", "attachment;filename=\"svg\";filename*=UTF-8''%E5%9B%B3%E8%A1%A8.svg"),
        (
            'a"; filename=b.exe',
            "attachment;filename=\"a_; filename=b.exe\";filename*=UTF-8''a%22%3B%20filename%3Db.exe",
        ),
        ("100%25.csv", "attachment;filename=\"100_25.csv\";filename*=UTF-8''100%2525.csv"),
        ("結果", "attachment;filename=\"result\";filename*=UTF-8''%E7%B5%90%E6%9E%9C"),
    ],
)
def test_content_disposition_carries_any_file_name(name: str, header: str) -> None:
    assert disposition(name) == header


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("s3://internal/x"), 404),
        (StorageUnavailable("http://storage.internal:9000 refused"), 502),
        (StorageTimeout("http://storage.internal:9000"), 504),
    ],
)
def test_a_storage_that_fails_is_a_clean_error(
    serve: Callable[[ResultFile, Any], Get], error: Exception, status: int
) -> None:
    response = serve(ResultFile("outputs/a", 10, "output", "s3://internal/a", SHA), Failing(error))()
    assert response.status == status
    assert list(response.json()) == ["error"]
    assert b"internal" not in response.data
    assert "Content-Disposition" not in response.headers


@pytest.mark.parametrize("sent", [0, 500])
def test_a_storage_that_breaks_in_the_middle_cuts_the_connection(
    serve: Callable[[ResultFile, Any], Get], sent: int
) -> None:
    storage = Failing(StorageUnavailable("reset by storage.internal"), sent)
    get = serve(ResultFile("outputs/a", 1000, "output", "s3://internal/a", SHA), storage)
    with pytest.raises(urllib3.exceptions.ProtocolError):
        get()
    assert storage.closed == 1


def test_a_stored_file_of_another_size_is_502(
    serve: Callable[[ResultFile, Any], Get], stored: tuple[ResultFile, FileStorage]
) -> None:
    file, storage = stored
    response = serve(ResultFile(file.path, 10, file.type, file.url, SHA), storage)()
    assert response.status == 502
    assert response.json() == {"error": "the stored result differs in size from the published one"}


def test_a_client_that_goes_away_closes_the_source() -> None:
    storage = Failing(StorageUnavailable(""), 500)
    response = respond(Request({"REQUEST_METHOD": "GET"}), ResultFile("outputs/a", 1000, "output", "u"), storage)  # type: ignore[arg-type]
    next(iter(response.response))
    response.close()
    assert storage.closed == 1


def test_a_result_without_a_hash_from_before_an_upgrade_is_sent(
    serve: Callable[[ResultFile, Any], Get], stored: tuple[ResultFile, FileStorage]
) -> None:
    file, storage = stored
    response = serve(ResultFile("outputs/result.csv", file.size, "output", file.url), storage)()
    assert (response.status, response.data) == (200, CONTENT)
    assert response.headers["Content-Type"] == "text/csv"
    assert "ETag" not in response.headers
