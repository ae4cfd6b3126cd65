"""Outputs of tasks that go to an HTTP server with PUT, such as the presigned URL of a bucket."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from support.datahost import DataHost, Request, Route
from support.serving import serving
from support.tes import HELLO

from functions.results.ports import StorageRefused, StorageUnavailable
from functions.staging.guarded_http import GuardedHttp
from functions.staging.publish.deliver import Destinations
from functions.staging.retry import RetryPolicy
from functions.workflow.stage_options import DeliveryOptions
from functions.workflow.stage_task import Task
from functions.workflow.tes_checks import accept

OPEN_ACCOUNT = {"disable_oauth": True, "client_email": "", "private_key": "", "private_key_id": ""}  # Google's


class _Server(ThreadingHTTPServer):
    """Takes files; answers with the status in the path."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.taken: dict[str, tuple[bytes, str]] = {}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.taken[self.path] = body, self.headers["Content-Type"]
        status = int(self.path.strip("/").partition("/")[0])
        self.send_response(status)
        if status == 307:
            self.send_header("Location", self.server.url("/200/elsewhere"))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[_Server]:
    with serving(_Server()) as server:
        yield server


HTTP = GuardedHttp(frozenset({"http", "https"}), private=True, retries=RetryPolicy(tries=1))


@pytest.mark.parametrize("status", [200, 201, 204])
def test_the_body_is_sent_as_one_file_with_its_size(server: _Server, status: int) -> None:
    HTTP.put(server.url(f"/{status}/x?signature=1"), iter([b"one", b"two"]), 6, "text/plain")
    assert server.taken == {f"/{status}/x?signature=1": (b"onetwo", "text/plain")}


@pytest.mark.parametrize(("status", "error"), [(403, StorageRefused), (307, StorageRefused), (503, StorageUnavailable)])
def test_an_answer_that_is_no_success_is_an_error_and_no_redirect_is_followed(
    server: _Server, status: int, error: type[Exception]
) -> None:
    with pytest.raises(error) as raised:
        HTTP.put(server.url(f"/{status}/x"), iter([b"x"]), 1, "text/plain")
    assert type(raised.value) is error
    assert list(server.taken) == [f"/{status}/x"]


def test_an_internal_address_takes_no_outputs(server: _Server) -> None:
    with pytest.raises(StorageRefused):
        GuardedHttp(frozenset({"http"})).put(server.url("/200/x"), iter([b"x"]), 1, "text/plain")
    assert server.taken == {}


def test_a_server_that_cannot_be_reached_is_tried_again() -> None:
    with pytest.raises(StorageUnavailable) as raised:
        HTTP.put("http://127.0.0.1:1/x", iter([b"x"]), 1, "text/plain")
    assert type(raised.value) is StorageUnavailable


class _Anything(dict[str, Route]):
    """Takes every file, as all three clouds answer."""

    def get(self, path: str, default: object = None) -> Route:
        return self._take

    @staticmethod
    def _take(request: Request) -> None:
        request.answer(201, ETag='"1"', Last_Modified="Sun, 22 Nov 2026 03:00:00 GMT")


@pytest.mark.parametrize(
    ("url", "credentials", "sent"),
    [
        ("s3://box/a%20b/ü", {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s"}, "/box/a%20b/%C3%BC"),
        ("gs://box/a%20b/ü", {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(OPEN_ACCOUNT)}, "/box/a%20b%2F%C3%BC"),
        (
            "az://box/a%20b/ü",
            {"AZURE_STORAGE_ACCOUNT_NAME": "me", "AZURE_STORAGE_ACCOUNT_KEY": "a2V5"},
            "/box/a%20b/%C3%BC",
        ),
    ],
)
def test_an_output_goes_to_every_cloud(url: str, credentials: dict[str, str], sent: str) -> None:
    with DataHost() as host:
        host.routes = _Anything()
        deliver = DeliveryOptions(outputs=(f"{url[:2]}://box/",), endpoints={url[:2]: host.url})
        task = Task(
            workflow="w", definition=accept(HELLO).task, results="file:///results", deliver=deliver, owner="ann"
        )
        Destinations(task, credentials, task.results).put(url, iter([b"one", b"two"]), 6, "text/plain")
        (request,) = host.seen
        assert (request.method, request.path, request.body) == ("PUT", sent, b"onetwo")
        assert "text/plain" in (request.headers.get(name) for name in ("content-type", "x-ms-blob-content-type"))
