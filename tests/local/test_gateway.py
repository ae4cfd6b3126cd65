"""The gateway routes as the cluster's HTTPRoute says, and hands requests through unchanged."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from urllib3 import PoolManager
from werkzeug.test import Client
from werkzeug.wrappers import Request, Response

from functions.local.gateway import Gateway, backend, matches
from functions.local.http_server import PortTaken, Server
from functions.local.knative_manifests import ManifestError, load, of_kind

API = "/api/v1/operator"


@pytest.mark.parametrize(
    ("method", "path", "name"),
    [
        ("POST", f"{API}/compute", "submit"),
        ("PUT", f"{API}/compute", "submit"),
        ("DELETE", f"{API}/compute", "submit"),
        ("POST", f"{API}/pgsqlinit", "submit"),
        ("GET", f"{API}/compute", "status"),
        ("GET", f"{API}/getResult", "status"),
        ("HEAD", f"{API}/getResult", "status"),
        ("GET", "/", "status"),
        ("GET", "/spec", "status"),
        ("GET", "/api/v1/docs/index.html", "status"),
        ("POST", "/dead-letters", None),
        ("GET", "/healthz", "status"),
        ("GET", "/api/v1/operators", None),
        ("GET", "/spec/more", None),
    ],
)
def test_the_clusters_own_route_names_the_function_for_each_request(method: str, path: str, name: str | None) -> None:
    assert backend(matches(of_kind(load(), "HTTPRoute")), method, path) == name


def route(*rules: tuple[str, str, str | None, str]) -> dict[str, Any]:
    def rule(kind: str, path: str, method: str | None, name: str) -> dict[str, Any]:
        match = {"path": {"type": kind, "value": path}} | ({"method": method} if method else {})
        return {"matches": [match], "backendRefs": [{"name": name}]}

    return {"spec": {"rules": [rule(*each) for each in rules]}}


def test_exact_paths_come_before_prefixes_and_long_before_short() -> None:
    table = matches(
        [
            route(
                ("PathPrefix", "/", None, "all"),
                ("PathPrefix", "/a/b", None, "long"),
                ("PathPrefix", "/a", None, "short"),
                ("Exact", "/a/b", None, "exact"),
                ("Exact", "/a/b", "PUT", "method"),
            )
        ]
    )
    asked = [("GET", "/a/b"), ("PUT", "/a/b"), ("GET", "/a/b/c"), ("GET", "/a/c"), ("GET", "/ab")]
    assert [backend(table, *each) for each in asked] == ["exact", "method", "long", "short", "all"]


def test_an_unsupported_path_type_is_refused() -> None:
    with pytest.raises(ManifestError, match="RegularExpression"):
        matches([route(("RegularExpression", "/.*", None, "x"))])


@pytest.fixture
def echo() -> Iterator[Server]:
    """A backend that says what it was asked."""

    def app(environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        text = f"{request.method} {environ['REQUEST_URI']} {request.headers.get('X-One')} ".encode()
        answer = Response([text, request.get_data()], 418, {"X-Two": "2", "ETag": '"e"'})
        return answer(environ, start_response)

    server = Server()
    server.start(app)
    yield server
    server.stop()


def gateway_to(address: str, http: Any = None, seconds: float = 60) -> Gateway:
    table = matches([route(("PathPrefix", "/", None, "f"))])
    return Gateway(table, {"f": address}, http or PoolManager(), 1 << 20, seconds)


def client(address: str) -> Client:
    return Client(gateway_to(address))


def test_requests_and_responses_are_forwarded_unchanged(echo: Server) -> None:
    gateway = Server()
    gateway.start(client(echo.url).application)
    try:
        answer = PoolManager().request(
            "PUT", f"{gateway.url}/a%2Fb?x=%20y&x=2", body=b"body", headers={"X-One": "1", "Connection": "close"}
        )
    finally:
        gateway.stop()
    assert answer.status == 418
    assert answer.data == b"PUT /a%2Fb?x=%20y&x=2 1 body"
    assert (answer.headers["X-Two"], answer.headers["ETag"]) == ("2", '"e"')
    assert [len(answer.headers.getlist(name)) for name in ("Server", "Date")] == [1, 1]


def answered(server: Server, sent: bytes) -> bytes:
    """What the server answers to these bytes, until it closes the connection."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=30) as connection:
        connection.sendall(sent)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


PUT = b"PUT /x HTTP/1.1\r\nHost: localhost\r\n"
CHUNKED = PUT + b"Transfer-Encoding: chunked\r\n"


@pytest.mark.parametrize(
    ("sent", "status", "text"),
    [
        (CHUNKED + b"\r\n2\r\nab\r\n0\r\n\r\n", 418, b"PUT /x None ab"),
        (CHUNKED + b"Expect: 100-continue\r\n\r\n2\r\nab\r\n0\r\n\r\n", 100, b"PUT /x None ab"),
        (CHUNKED + b"Content-Length: 9\r\n\r\n2\r\nab\r\n0\r\n\r\n", 418, b"PUT /x None ab"),
        (CHUNKED + b"\r\nZZ\r\nab\r\n0\r\n\r\n", 400, b"the request body is incomplete"),
        (CHUNKED + b"\r\n-5\r\nab\r\n0\r\n\r\n", 400, b"the request body is incomplete"),
        (PUT + b"Content-Length: 2, 3\r\n\r\nab", 418, b"PUT /x None "),
        (PUT + b"Content-Length: 9\r\n\r\nab", 408, b"the request body did not arrive in time"),
        (PUT + b"Content-Length: 1048577\r\n\r\n", 413, b"the request body is larger than 1048576 bytes"),
        (b"GET http://localhost/a%2Fb?c HTTP/1.1\r\nHost: localhost\r\n\r\n", 418, b"GET /a%2Fb?c None "),
        (b"GET x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, b"the request's target must be a path"),
        (b"GET http://[/x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, b"malformed request line"),
        (b"G\x01T /x HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, b"malformed request line"),
        (b"OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 400, b"the request's target must be a path"),
    ],
)
def test_a_request_of_any_form_is_answered_for_what_it_is(
    echo: Server, capfd: pytest.CaptureFixture[str], sent: bytes, status: int, text: bytes
) -> None:
    """A wrong request is no failure of the function, and one that stalls is not forwarded."""
    gateway = Server()
    gateway.start(gateway_to(echo.url, seconds=0.5))
    try:
        answer = answered(gateway, sent)
    finally:
        gateway.stop()
    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert text in answer
    assert "Traceback" not in capfd.readouterr().err


def test_a_large_response_is_streamed() -> None:
    go_on = threading.Event()

    def app(environ: Any, start_response: Any) -> Any:
        def chunks() -> Iterator[bytes]:
            yield b"x" * (1 << 16)
            go_on.wait(10)  # the first part is read before the last is made
            yield b"y"

        return Response(chunks(), 200)(environ, start_response)

    server, gateway = Server(), Server()
    server.start(app)
    gateway.start(client(server.url).application)
    try:
        answer = PoolManager().request("GET", gateway.url, preload_content=False)
        assert answer.read(1 << 16) == b"x" * (1 << 16)
        go_on.set()
        assert answer.read() == b"y"
    finally:
        gateway.stop()
        server.stop()


def test_an_unknown_route_is_404_and_a_dead_function_502() -> None:
    nothing = Client(Gateway([], {}, PoolManager(), 0, 0))
    assert nothing.get("/").status_code == 404
    assert client("http://127.0.0.1:9").get("/").status_code == 502


@pytest.mark.parametrize(
    ("host", "origin", "served"),
    [
        ("127.0.0.1:8050", None, True),
        ("localhost:8050", None, True),
        ("[::1]:8050", None, True),
        ("127.0.0.1:8050", "http://127.0.0.1:8050", True),
        ("127.0.0.1:8050", "http://localhost:3000", True),
        ("127.0.0.1:8050", "https://elsewhere.example", False),
        ("127.0.0.1:8050", "http://127.0.0.1.elsewhere.example", False),
        ("127.0.0.1:8050", "null", False),
        ("127.0.0.1:8050", "http://[", False),
        ("elsewhere.example:8050", None, False),
    ],
)
def test_requests_from_other_sites_are_refused(echo: Server, host: str, origin: str | None, served: bool) -> None:
    headers = {"Host": host} | ({"Origin": origin} if origin else {})
    answer = client(echo.url).get("/", headers=headers)
    assert answer.status_code == (418 if served else 403)


def test_the_error_for_a_used_port_names_it() -> None:
    server = Server()
    with pytest.raises(PortTaken, match=f"port {server.port} "):
        Server(server.port)
    server.stop()


def test_the_answer_to_a_client_that_leaves_early_is_closed() -> None:
    """The rest of it must not reach the next request of the connection."""

    class Answer:
        status = 200
        headers: ClassVar = {"Content-Type": "text/plain"}
        closed = False

        def stream(self, *_: Any, **__: Any) -> Iterator[bytes]:
            yield from (b"first", b"second")

        def close(self) -> None:
            self.closed = True

    class Http:
        answer = Answer()

        def request(self, *_: Any, **__: Any) -> Answer:
            return self.answer

    http: Any = Http()
    gateway = gateway_to("http://f", http)
    response = Client(gateway).get("/x", buffered=False)
    assert next(iter(response.response)) == b"first"
    assert not http.answer.closed
    response.close()
    assert http.answer.closed
