"""Every scheme, against real servers on loopback."""

import threading
from collections.abc import Iterator
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from localbucket import S3Handler
from msgspec.structs import replace
from support.configuring import LOOPBACK, Configure
from support.datahost import DataHost, File, Held, Pattern, Request

from functions.staging.configure.object_source import ObjectSource, list_objects
from functions.staging.report import StageFailure
from functions.staging.retry import RetryPolicy
from functions.workflow.stage_options import FetchOptions

MB = 1 << 20
TX = "TX_id-1".ljust(43, "x")


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """The URL of an S3 server, and the folder of its bucket `data`."""
    folder = tmp_path / "buckets" / "data"
    folder.mkdir(parents=True)
    handler = type("Handler", (S3Handler,), {"data_root": folder.parent})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", folder
    server.shutdown()
    server.server_close()


def _at(endpoint: str, scheme: str = "s3", **more: Any) -> FetchOptions:
    return replace(LOOPBACK, endpoints={scheme: endpoint}, **more)


def test_an_s3_object_is_fetched(configure: Configure, bucket: tuple[str, Path]) -> None:
    endpoint, folder = bucket
    (folder / "a folder").mkdir()
    (folder / "a folder" / "ü.bin").write_bytes(Pattern(900_000).part(0, 900_000))
    (folder / "empty").write_bytes(b"")
    urls = ["s3://data/a%20folder/%C3%BC.bin", "s3://data/empty"]
    outcome = configure({"url": urls}, options=_at(endpoint))
    assert outcome.code == 0, outcome.message
    assert outcome.read("inputs/0/0") == Pattern(900_000).part(0, 900_000)
    assert outcome.read("inputs/0/1") == b""
    assert [f["source"] for f in outcome.json("provenance.json")["files"]] == ["s3", "s3", "rawcode"]


@pytest.mark.parametrize("url", ["s3://data/gone", "s3://nobucket/x", "s3://data/", "s3://data"])
def test_a_missing_object_fails(configure: Configure, bucket: tuple[str, Path], url: str) -> None:
    assert configure({"url": url}, options=_at(bucket[0])).reason == "DataUnavailable"


@pytest.mark.parametrize("url", ["s3://data:80/x", "gs://data:/x", "az://me@data/x"])
def test_a_bucket_with_more_than_its_name_is_not_opened(url: str) -> None:
    options, retries = FetchOptions(), RetryPolicy()
    with pytest.raises(StageFailure, match="must name a bucket"):
        ObjectSource.of(url, options, {}, retries)
    with pytest.raises(StageFailure, match="must name a bucket"):
        list(list_objects(url, options, {}, retries))


@pytest.mark.parametrize(("scheme", "path"), [("s3", "/box/a/b"), ("gs", "/box/a/b"), ("az", "/box/a/b")])
def test_a_broken_object_download_resumes_in_every_cloud(
    configure: Configure, host: DataHost, scheme: str, path: str
) -> None:
    content = Pattern(3 * MB)

    def serve(request: Request) -> None:
        request.path = unquote(request.path)
        start = int((request.headers.get("Range") or "bytes=0-")[6:-1])
        if start:
            assert request.headers["If-Match"] == '"1"'
        request.send_response(206 if start else 200)
        if start:
            request.send_header("Content-Range", f"bytes {start}-{content.size - 1}/{content.size}")
        request.send_header("Content-Length", str(content.size - start))
        request.send_header("ETag", '"1"')
        request.send_header("Last-Modified", "Sun, 22 Nov 2026 03:00:00 GMT")
        request.end_headers()
        for at in range(start, min(start + MB + 5, content.size), 1 << 16):
            request.wfile.write(content.part(at, 1 << 16))
        request.hang_up()

    host.routes |= {path: serve, "/box/a%2Fb": serve}
    account = {"AZURE_STORAGE_ACCOUNT_NAME": "account"}
    outcome = configure({"url": f"{scheme}://box/a/b"}, options=_at(host.url, scheme), credentials=account)
    assert outcome.code == 0, outcome.message
    assert outcome.json("provenance.json")["files"][0]["sha256"] == content.sha256
    assert len(host.seen) >= 3


KEYS = {"AWS_ACCESS_KEY_ID": "AKIAOPERATOR", "AWS_SECRET_ACCESS_KEY": "hunter2", "AWS_REGION": "us-east-1"}


@pytest.mark.parametrize(("named", "signed"), [((), False), (("s3://other",), False), (("s3://box",), True)])
def test_only_buckets_that_the_environment_names_get_the_operators_credentials(
    configure: Configure, host: DataHost, named: tuple[str, ...], signed: bool
) -> None:
    host.routes["/box/a"] = File(Held(b"x"), extra={"Last-Modified": "Sun, 22 Nov 2026 03:00:00 GMT"})
    options = _at(host.url, buckets=named)
    assert configure({"url": "s3://box/a"}, options=options, credentials=KEYS).code == 0
    assert ("AKIAOPERATOR" in host.seen[0].headers.get("authorization", "")) is signed


def test_azure_without_an_account_fails_and_names_the_missing_variable(configure: Configure) -> None:
    outcome = configure({"url": "az://container/key"})
    assert (outcome.code, outcome.reason) == (31, "NotConfigured")
    assert "AZURE_STORAGE_ACCOUNT_NAME" in outcome.message


def test_an_invalid_credential_is_reported_without_its_value(configure: Configure) -> None:
    options = replace(LOOPBACK, buckets=("gs://box",))
    outcome = configure({"url": "gs://box/a"}, options=options, credentials={"GOOGLE_SERVICE_ACCOUNT_KEY": "hunter2"})
    assert (outcome.code, outcome.reason) == (31, "NotConfigured")
    assert "GOOGLE_SERVICE_ACCOUNT_KEY" in outcome.message
    assert "hunter2" not in outcome.everything_told()


@pytest.mark.parametrize("url", ["s3://box/a//b", "gs://box/a/../b", "az://box/%00", "s3://box/.", "az://u:p@box/a"])
def test_an_object_name_that_obstore_refuses_fails_without_a_crash(
    configure: Configure, host: DataHost, url: str
) -> None:
    account = {"AZURE_STORAGE_ACCOUNT_NAME": "account"}
    outcome = configure({"url": url}, options=_at(host.url, url.partition(":")[0]), credentials=account)
    assert (outcome.code, outcome.reason) == (31, "DataUnavailable")


def test_the_longest_id_fits_into_every_file_name_it_becomes(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = File(Held(b"one"))
    id = "did:op:" + "x" * 200
    host.routes[f"/api/aquarius/assets/ddo/{id}"] = File(Held(b"{}"))
    outcome = configure({"id": id, "url": [f"{host.url}/a"] * 11}, output={"metadataUri": host.url})
    assert outcome.code == 0, outcome.message
    assert outcome.read(f"inputs/{'x' * 200}/10") == b"one"


def test_an_ipfs_file_is_fetched_from_a_gateway(configure: Configure, host: DataHost) -> None:
    host.routes["/ipfs/QmCaseSensitive/dir/a%20b"] = File(Held(b"one"))
    options = replace(LOOPBACK, ipfs_gateway=host.url)
    assert configure({"url": "ipfs://QmCaseSensitive/dir/a%20b"}, options=options).read("inputs/0/0") == b"one"


def test_an_ipfs_download_from_a_nodes_api_resumes_by_offset(configure: Configure, host: DataHost) -> None:
    content = Pattern(3 * MB)

    def cat(request: Request) -> None:
        start = int(request.path.partition("&offset=")[2] or 0)
        request.send_response(200)
        request.send_header("X-Content-Length", str(content.size - start))
        request.send_header("Transfer-Encoding", "chunked")
        request.end_headers()
        for at in range(start, min(start + 2 * MB, content.size), 1 << 16):
            request.wfile.write(b"%x\r\n%b\r\n" % (1 << 16, content.part(at, 1 << 16)))
        if start:
            request.wfile.write(b"0\r\n\r\n")
        request.hang_up()

    host.routes["/api/v0/cat"] = cat
    options = replace(LOOPBACK, ipfs_gateway=f"{host.url}/api/v0")
    outcome = configure({"url": "ipfs://bafy/sub"}, options=options)
    assert outcome.json("provenance.json")["files"][0]["sha256"] == content.sha256
    assert [(s.method, s.path) for s in host.seen] == [
        ("POST", "/api/v0/cat?arg=bafy%2Fsub"),
        ("POST", f"/api/v0/cat?arg=bafy%2Fsub&offset={2 * MB}"),
    ]


def test_an_ipfs_body_shorter_than_announced_fails(configure: Configure, host: DataHost) -> None:
    host.routes["/api/v0/cat"] = lambda request: request.answer(200, b"half", X_Content_Length="8")
    outcome = configure({"url": "ipfs://bafy"}, options=replace(LOOPBACK, ipfs_gateway=f"{host.url}/api/v0"))
    assert (outcome.reason, "inputs/0/0" in outcome.tree()) == ("DataUnavailable", False)


def test_an_arweave_gateway_may_redirect_to_another_host(configure: Configure, host: DataHost) -> None:
    with DataHost() as sandbox:
        sandbox.routes[f"/{TX}"] = File(Held(b"kept for ever"))
        host.routes[f"/{TX}"] = lambda request: request.answer(302, Location=f"{sandbox.url}/{TX}")
        options = replace(LOOPBACK, arweave_gateway=f"{host.url}/")
        assert configure({"url": f"ar://{TX}"}, options=options).read("inputs/0/0") == b"kept for ever"


def test_the_operators_gateway_may_have_a_private_address_and_no_other_host_may(
    configure: Configure, host: DataHost
) -> None:
    host.routes["/ipfs/bafy"] = File(Held(b"one"))
    options = FetchOptions(ipfs_gateway=host.url)
    assert configure({"url": "ipfs://bafy"}, options=options).code == 0
    assert (
        configure({"url": f"{host.url}/ipfs/bafy".replace("http:", "https:")}, options=options).reason
        == "DataForbidden"
    )


def test_a_file_of_this_machine_is_copied(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "a b").write_bytes(Pattern(MB).part(0, MB))
    outcome = configure({"url": f"file://{tmp_path}/a%20b"})
    assert outcome.read("inputs/0/0") == Pattern(MB).part(0, MB)


def test_files_are_for_the_laptop_only(configure: Configure, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    outcome = configure({"url": f"file://{tmp_path}/a"}, options=FetchOptions())
    assert (outcome.code, outcome.reason) == (31, "DataForbidden")


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/null", "/tmp", "/gone", "/proc/self/mem/x"])
def test_only_regular_files_are_read(configure: Configure, path: str) -> None:
    assert configure({"url": f"file://{path}"}).reason == "DataUnavailable"


def test_a_named_pipe_does_not_block_the_stage(configure: Configure, tmp_path: Path) -> None:
    import os

    os.mkfifo(tmp_path / "pipe")
    assert configure({"url": f"file://{tmp_path}/pipe"}).reason == "DataUnavailable"
