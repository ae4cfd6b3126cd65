"""Clients that stall while they send a request or read an answer, against real servers."""

from __future__ import annotations

import http.client
import json
import re
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlencode

import pytest
from support.api import OWNER, Api, app
from support.clusters import stage_job
from support.served import CONFIG, configured, one_served

from functions import ethereum
from functions.cluster.processes import ProcessCluster
from functions.local.http_server import Server, function
from functions.store.migrate import migrate
from functions.store.sql import SqlStore
from functions.workflow.model import Manifest, ResultFile, Stage, WorkflowId

CLIENTS = 8  # as many as the server has threads for requests
PATIENCE = 20  # seconds until a test gives up on an answer
ROUTE = "/api/v1/operator/environments"
KEY = "0x" + "44" * 32

HEAD = f"GET {ROUTE} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n".encode()
STALLS = {
    "before they send anything": b"",
    "in the head": b"GET /healthz HTTP/1.1\r\nHo",
    "in the body": HEAD + b"Content-Length: 100\r\n\r\n{",
    "in a chunk": HEAD + b"Transfer-Encoding: chunked\r\n\r\n64\r\n{",
    "in a body that nobody reads": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{",
    "after its answer": b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
}


@pytest.fixture
def hasty(tmp_path: Path) -> Path:
    """The image's configuration, with threads for the stalled clients only and little time for each answer."""
    config = tmp_path / "gunicorn.conf.py"
    source = CONFIG.read_text().replace("__file__", repr(str(CONFIG)))
    config.write_text(f"{source}\nthreads = {CLIENTS}\nWorker.send_seconds = 1\n")
    return config


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    url = f"sqlite:///{tmp_path_factory.mktemp('record')}/sluice.db"
    migrate(url)
    return url


@pytest.fixture(scope="module")
def job(database: str) -> str:
    return str(Api(app(SqlStore(database))).start()["jobId"])


@pytest.fixture(scope="module", params=["gunicorn", "laptop"])
def port(request: pytest.FixtureRequest, database: str) -> Iterator[int]:
    """The port of `status` as the image and as the laptop serve it. What stalled in one test holds up no other."""
    settings = {"DATABASE_URL": database, "SLUICE_CLUSTER": "memory", "CLIENT_SECONDS": "1"}
    settings |= {"ALLOWED_ADMINS": '["secret"]'}
    if request.param == "gunicorn":
        with one_served("status", THREADS=str(CLIENTS), **settings) as (port, _):
            yield port
        return
    from functions.engine.app import current_app
    from functions.status import followed_log

    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setenv(name, value)
        # Clients in this process, of other tests, may have left an answer open.
        patch.setattr(followed_log, "_STREAMS", followed_log._Streams())
        current_app.cache_clear()
        server = Server()
        server.start(function("status"))
        yield server.port
        server.stop()
        current_app.cache_clear()


def connected(port: int) -> socket.socket:
    return socket.create_connection(("localhost", port), timeout=PATIENCE)


def answer(sock: socket.socket) -> tuple[int, bytes]:
    """Status and body of the next answer."""
    response = http.client.HTTPResponse(sock)
    response.begin()
    return response.status, response.read()


def asked(port: int, path: str) -> int:
    with connected(port) as sock:
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
        return answer(sock)[0]


@pytest.mark.parametrize("stall", STALLS)
def test_clients_that_stall_do_not_keep_others_from_an_answer(port: int, stall: str) -> None:
    with ExitStack() as stack:
        for _ in range(2 * CLIENTS if STALLS[stall] else 8 * CLIENTS):
            stack.enter_context(connected(port)).sendall(STALLS[stall])
        assert asked(port, "/healthz") == 200
        assert asked(port, ROUTE) == 200


def test_a_client_that_does_not_read_its_answer_is_cut_off(tmp_path: Path, hasty: Path) -> None:
    database, results = f"sqlite:///{tmp_path}/sluice.db", f"file://{tmp_path}/results"
    migrate(database)
    api = Api(app(SqlStore(database), results_url=results))
    size = 32 << 20  # more than the buffers of a connection hold
    url = api.app.storage.put("j/1/outputs/large", [bytes(size)], size, "text/plain")
    job = api.finished(Manifest((ResultFile("outputs/large", size, "output", url),)))
    environ = {
        "DATABASE_URL": database,
        "RESULTS_URL": results,
        "SLUICE_CLUSTER": "memory",
        "ALLOWED_PROVIDERS": json.dumps([ethereum.address(api.key)]),
    }
    with ExitStack() as stack, configured("status", hasty, environ) as (port, _):
        for _ in range(CLIENTS):
            query = urlencode(api.signed(f"{OWNER}{job}", owner=OWNER, jobId=job, index=0, nonce=time.time_ns()))
            sock = stack.enter_context(connected(port))
            sock.sendall(f"GET /api/v1/operator/getResult?{query} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            assert sock.recv(12) == b"HTTP/1.1 200"
        assert asked(port, "/healthz") == 200


def test_a_client_that_leaves_a_followed_log_gives_its_thread_back(port: int, job: str) -> None:
    head = f"GET /api/v1/operator/logs?jobId={job}&follow=1 HTTP/1.1\r\nHost: localhost\r\nAdmin: secret\r\n\r\n"

    def followed(sock: socket.socket) -> bool:
        sock.sendall(head.encode())
        response = http.client.HTTPResponse(sock)
        response.begin()
        return response.status == 200

    def follow_at_last(stack: ExitStack) -> None:
        give_up = time.monotonic() + PATIENCE
        while not followed(stack.enter_context(connected(port))):
            assert time.monotonic() < give_up
            time.sleep(0.1)

    with ExitStack() as stack:
        for _ in range(CLIENTS // 2):
            assert followed(stack.enter_context(connected(port)))
        with connected(port) as one_more:
            assert not followed(one_more)
        assert asked(port, ROUTE) == 200
    with ExitStack() as stack:
        follow_at_last(stack)


def test_a_client_that_does_not_read_a_followed_log_gives_its_thread_back(tmp_path: Path, hasty: Path) -> None:
    database, cluster = f"sqlite:///{tmp_path}/sluice.db", tmp_path / "cluster"
    migrate(database)
    store = SqlStore(database)
    job = WorkflowId(Api(app(store)).start()["jobId"])
    (attempt,) = store.attempts(job)
    made = stage_job(job, Stage.CONFIGURE, namespace="ocean-compute")
    ProcessCluster(cluster, new_uid=lambda: str(attempt.job_uid)).create(made)
    # More than the buffers of a connection hold.
    (cluster / "ocean-compute" / job / "configure-1" / "output.log").write_bytes(bytes(32 << 20))
    environ = {"DATABASE_URL": database, "SLUICE_CLUSTER": "processes", "SLUICE_PROCESS_DIR": str(cluster)}
    path = f"/api/v1/operator/logs?jobId={job}&component=configure&follow=1"

    def followed(port: int, stack: ExitStack) -> bytes:
        sock = stack.enter_context(connected(port))
        sock.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAdmin: secret\r\n\r\n".encode())
        return sock.recv(12)

    with ExitStack() as stack, configured("status", hasty, {**environ, "ALLOWED_ADMINS": '["secret"]'}) as (port, _):
        for _ in range(CLIENTS // 2):
            assert followed(port, stack) == b"HTTP/1.1 200"
        give_up = time.monotonic() + PATIENCE
        while followed(port, stack) != b"HTTP/1.1 200":
            assert time.monotonic() < give_up
            time.sleep(0.1)


def test_a_followed_log_does_not_keep_a_server_from_its_end(tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/sluice.db"
    migrate(database)
    job = Api(app(SqlStore(database))).start()["jobId"]
    settings = {"DATABASE_URL": database, "SLUICE_CLUSTER": "memory", "ALLOWED_ADMINS": '["secret"]'}
    head = f"GET /api/v1/operator/logs?jobId={job}&follow=1 HTTP/1.1\r\nHost: localhost\r\nAdmin: secret\r\n\r\n"
    with one_served("status", **settings) as (port, process), connected(port) as sock:
        sock.sendall(head.encode())
        assert sock.recv(12) == b"HTTP/1.1 200"
        process.terminate()
        assert process.wait(PATIENCE) == 0, "it is killed after 55 s"


@pytest.mark.parametrize("stall", ["in the body", "in a chunk"])
def test_a_body_that_stops_coming_is_answered_with_408(port: int, stall: str) -> None:
    with connected(port) as sock:
        sock.sendall(STALLS[stall])
        status, body = answer(sock)
    assert (status, b"did not arrive in time" in body) == (408, True)


def test_a_body_that_trickles_is_answered_with_408(port: int) -> None:
    """Each byte comes long before any time-out of a single read."""
    with connected(port) as sock:
        sock.sendall(HEAD + b"Content-Length: 100000\r\n\r\n")
        assert answer_to_a_trickle(sock) == 408


def answer_to_a_trickle(sock: socket.socket) -> int:
    sock.settimeout(0.05)
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up:
        try:
            sock.sendall(b"1")
            if sock.recv(1, socket.MSG_PEEK):
                break
        except TimeoutError:
            continue
    sock.settimeout(PATIENCE)
    return answer(sock)[0]


@pytest.mark.parametrize(
    "body",
    [b"zz\r\n{}\r\n0\r\n\r\n", b"-1\r\n{}\r\n", b"2\r\n{}ZZ0\r\n\r\n", b"\r\n\r\n"],
    ids=["not a number", "negative", "without its end", "empty"],
)
def test_a_malformed_chunk_is_answered_with_400(port: int, body: bytes) -> None:
    with connected(port) as sock:
        sock.sendall(HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + body)
        status, text = answer(sock)
    assert (status, b"chunks are malformed" in text) == (400, True)


@pytest.mark.parametrize(("head", "status"), [(b"DELETE " + ROUTE.encode(), 405), (b"GET /healthz", 200)])
def test_a_malformed_body_that_nobody_reads_gets_no_second_answer(port: int, head: bytes, status: int) -> None:
    body = b"zz\r\n{}\r\n0\r\n\r\n"
    with connected(port) as sock, sock.makefile("rb") as answers:
        sock.sendall(head + b" HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        sock.shutdown(socket.SHUT_WR)
        statuses = re.findall(rb"HTTP/1\.[01] (\d+) ", answers.read())
    assert statuses == [str(status).encode()]


def test_a_body_that_ends_too_early_is_answered_with_400(port: int) -> None:
    with connected(port) as sock:
        sock.sendall(STALLS["in the body"])
        sock.shutdown(socket.SHUT_WR)
        assert answer(sock)[0] == 400
