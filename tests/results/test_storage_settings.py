"""Which storage the settings and operator-engine's variables mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.ipfs_server import IpfsNode

from functions.results.ports import NotFound, StorageRefused, StorageUnavailable
from functions.results.storage import open_storage, open_url, results_url, storage_url
from functions.settings import Settings
from functions.variables import SettingsError, with_credentials
from functions.workflow.model import Manifest, ResultFile, WorkflowId

W = WorkflowId("w1")


@pytest.mark.parametrize(
    ("url", "given", "meant"),
    [
        ("s3://b/p", {"AWS_BUCKET_OUTPUT": "other"}, "s3://b/p"),
        ("", {"AWS_BUCKET_OUTPUT": "b"}, "s3://b"),
        ("", {"IPFS_OUTPUT": "http://ipfs:5001", "AWS_BUCKET_OUTPUT": "b"}, "ipfs://"),
    ],
)
def test_operator_engines_variables_select_the_storage(url: str, given: dict[str, str], meant: str) -> None:
    assert results_url(url, given) == meant


def test_a_bucket_named_only_in_the_mounted_secret_is_used(tmp_path: Path) -> None:
    (tmp_path / "AWS_BUCKET_OUTPUT").write_text("mounted\n")
    settings = Settings.load({"SLUICE_CREDENTIALS": str(tmp_path), "AWS_BUCKET_OUTPUT": "variable"})
    assert storage_url(settings) == "s3://mounted"
    assert open_storage(settings)


def test_without_any_variable_the_error_names_the_one_to_set() -> None:
    with pytest.raises(SettingsError, match="RESULTS_URL is not set; for example"):
        open_storage(Settings.load({}))


@pytest.mark.parametrize(
    "url", ["http://h/x", "nothing", "file://host/x", "file:x", "ipfs://", "az://container", "gs://"]
)
def test_a_url_that_cannot_be_used_is_refused_at_once(url: str) -> None:
    with pytest.raises(SettingsError):
        open_url(url, {})


def test_files_of_the_credentials_folder_override_the_environment(tmp_path: Path) -> None:
    (tmp_path / "AWS_ACCESS_KEY_ID").write_text("mounted\n")
    (tmp_path / "..data").mkdir()
    assert with_credentials(str(tmp_path), {"AWS_ACCESS_KEY_ID": "x", "A": "b"}) == {
        "AWS_ACCESS_KEY_ID": "mounted",
        "A": "b",
    }
    assert with_credentials("", {"A": "b"}) == with_credentials("/does/not/exist", {"A": "b"}) == {"A": "b"}


def test_a_file_that_contains_an_old_form_boundary_is_stored_whole(ipfs: IpfsNode) -> None:
    storage = open_url("ipfs://", {"IPFS_OUTPUT": ipfs.url})
    storage.put("w1/1/outputs/first", [b"1"], 1, "text/plain")
    boundary = ipfs.seen[-1][2]["Content-Type"].partition("boundary=")[2]
    hostile = f"a\r\n--{boundary}--\r\nb".encode()
    url = storage.put("w1/1/outputs/second", [hostile], len(hostile), "text/plain")
    found = storage.open(ResultFile("outputs/second", len(hostile), "output", url))
    assert b"".join(found.chunks) == hostile


def test_admin_logs_go_to_their_own_bucket_and_are_removed_from_it(bucket: Any) -> None:
    (bucket.root / "admin").mkdir()
    storage = open_url("s3://results", {**bucket.variables, "AWS_BUCKET_ADMINLOGS": "admin"})
    output = ResultFile("outputs/a", 1, "output", storage.put("w1/1/outputs/a", [b"1"], 1, "text/plain"))
    path = "adminlogs/publish.log"
    log = ResultFile(path, 1, "publishLog", storage.put(f"w1/1/{path}", [b"2"], 1, "text/plain"))
    storage.put_manifest(W, 1, Manifest((output,), (log,)))
    assert (bucket.root / "admin" / "w1" / "1" / path).is_file()
    assert not (bucket.root / "results" / "w1" / "1" / "adminlogs").exists()
    assert [b"".join(storage.open(file).chunks) for file in (output, log)] == [b"1", b"2"]
    storage.remove(W)
    assert not [path for path in bucket.root.rglob("*") if path.is_file() and "w1" in path.app]


def test_a_missing_bucket_is_refused_and_not_retried(bucket: Any) -> None:
    with pytest.raises(StorageRefused):
        open_url("s3://no-such-bucket", bucket.variables).put("w1/1/outputs/a", [b"1"], 1, "text/plain")


def test_the_api_keys_and_the_expiry_of_operator_engine_reach_ipfs(ipfs: IpfsNode) -> None:
    given = {"IPFS_OUTPUT": ipfs.url, "IPFS_API_KEY": "k", "IPFS_API_CLIENT": "c", "IPFS_EXPIRY_TIME": "61"}
    open_url("ipfs://", given).put("w1/1/outputs/a", [b"1"], 1, "text/plain")
    command, options, headers = ipfs.seen[0]
    assert (command, options["expire-in"]) == ("add", "2m")
    assert (headers["X-API-KEY"], headers["CLIENT-ID"]) == ("k", "c")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ((401, b"no key"), StorageRefused),
        ((403, b"no right"), StorageRefused),
        ((500, b"the repository is locked"), StorageUnavailable),
        ((200, b""), StorageUnavailable),
        ((200, b'{"Name": "outputs/a", "Hash": "Qm1"}'), StorageUnavailable),  # the folder around it is not named
        ((200, b'{"Name": "", "Hash": "../x"}'), StorageUnavailable),
        ((200, b'{"Name": "", "Hash": 7}'), StorageUnavailable),
    ],
)
def test_an_answer_of_ipfs_that_names_no_stored_file_stores_none(
    ipfs: IpfsNode, answer: tuple[int, bytes], error: type[Exception]
) -> None:
    ipfs.answers["add"] = answer
    with pytest.raises(error):
        open_url("ipfs://", {"IPFS_OUTPUT": ipfs.url}).put("w1/1/outputs/a", [b"1"], 1, "text/plain")


@pytest.mark.parametrize("listed", [b"", b"[]", b'{"Entries": 1}', b'{"Entries": [{"Name": "other"}]}'])
def test_results_in_ipfs_stay_if_the_node_does_not_list_their_attempts(ipfs: IpfsNode, listed: bytes) -> None:
    storage = open_url("ipfs://", {"IPFS_OUTPUT": ipfs.url})
    storage.put_manifest(W, 1, Manifest())
    ipfs.answers["files/ls"] = (200, listed)
    with pytest.raises(StorageUnavailable, match="not a list of files"):
        storage.remove(W)
    assert ipfs.mfs


def test_a_file_of_another_storage_is_refused(tmp_path: Path) -> None:
    storage = open_url((tmp_path / "results").as_uri(), {})
    with pytest.raises(StorageUnavailable, match="another storage"):
        storage.open(ResultFile("outputs/a", 1, "output", "file:///etc/passwd"))


@pytest.mark.parametrize("rest", ["../secret", "w1/../../secret", "%2e%2e/secret", "w1//a"])
def test_a_url_cannot_leave_the_storage(tmp_path: Path, rest: str) -> None:
    (tmp_path / "secret").write_text("x")
    root = (tmp_path / "results").as_uri()
    with pytest.raises(NotFound):
        open_url(root, {}).open(ResultFile("outputs/a", 1, "output", f"{root}/{rest}"))
