"""Folders in buckets as inputs of GA4GH TES tasks: what each cloud lists, through its own protocol."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

import pytest
from support.datahost import DataHost, Request

from functions.staging.configure.program import run
from functions.staging.retry import RetryPolicy
from functions.workflow.stage_options import ConfigureTask, FetchOptions
from functions.workflow.tes_task import read

WHEN = datetime(2026, 11, 22, 3, tzinfo=UTC)
S3_KEY = "<Contents><Key>{0}</Key><Size>{1}</Size><LastModified>{2}</LastModified><ETag>1</ETag></Contents>"
AZURE_BLOB = (
    "<Blob><Name>{0}</Name><Properties><Content-Length>{1}</Content-Length><Last-Modified>{3}</Last-Modified>"
    "<Content-Type>x/y</Content-Type><Etag>1</Etag><ResourceType>file</ResourceType></Properties></Blob>"
)


class Bucket:
    """The objects of a bucket `box`, over HTTP as the clouds' clients ask for them. The first `faults` lists fail."""

    def __init__(self, host: DataHost, objects: dict[str, str], faults: int = 0) -> None:
        self._objects = objects
        self._faults = faults
        names = (f"/box/{form}" for key in objects for form in (key, quote(key, "").replace("-", "%2D")))
        host.routes |= {"/box": self._list, "/box/": self._list, **dict.fromkeys(names, self._object)}

    def _list(self, request: Request) -> None:
        if self._faults:
            self._faults -= 1
            return request.answer(503)
        query = parse_qs(urlsplit(request.path).query)
        azure = "comp" in query
        items = "".join(
            (AZURE_BLOB if azure else S3_KEY).format(key, len(text), WHEN.isoformat(), format_datetime(WHEN, True))
            for key, text in sorted(self._objects.items())
            if key.startswith(query["prefix"][0])
        )
        inner = f"<Blobs>{items}</Blobs>" if azure else items
        root = "EnumerationResults" if azure else "ListBucketResult"
        request.answer(200, f"<?xml version='1.0'?><{root}>{inner}</{root}>".encode(), Content_Type="application/xml")
        return None

    def _object(self, request: Request) -> None:
        key = unquote(request.path.partition("?")[0]).removeprefix("/box/")
        request.answer(200, self._objects[key].encode(), ETag='"1"', Last_Modified=format_datetime(WHEN, True))


@pytest.fixture
def host() -> Iterator[DataHost]:
    with DataHost() as server:
        yield server


def _configure(volume: Path, host: DataHost, scheme: str, tries: int = 1) -> int:
    volume.mkdir()
    item = {"path": "/in", "url": f"{scheme}://box/data", "type": "DIRECTORY"}
    body = {"executors": [{"image": "a", "command": ["x"]}], "inputs": [item]}
    options = FetchOptions(schemes=("s3", "gs", "az"), endpoints={scheme: host.url}, allow_private_addresses=True)
    account = {"AZURE_STORAGE_ACCOUNT_NAME": "account"}
    task = ConfigureTask(definition=read(body), fetch=options)
    return run(task, volume, credentials=account, retries=RetryPolicy(tries=tries), sink=lambda _line: None)


def _files(volume: Path) -> dict[str, str]:
    root = volume / "outputs/in"
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob("*") if path.is_file()}


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_a_folder_of_every_cloud_is_fetched_with_its_tree_and_without_its_neighbours(
    tmp_path: Path, host: DataHost, scheme: str
) -> None:
    Bucket(host, {"data/a": "1", "data/sub/b": "2", "data2": "of another", "other/c": "of another"})
    assert _configure(tmp_path / "volume", host, scheme) == 0
    assert _files(tmp_path / "volume") == {"a": "1", "sub/b": "2"}


@pytest.mark.parametrize("scheme", ["s3", "gs"])
def test_the_empty_objects_that_mark_folders_are_not_files(tmp_path: Path, host: DataHost, scheme: str) -> None:
    Bucket(host, {"data/": "", "data/sub-1": "1", "data/sub/": "", "data/sub/b": "2", "data/void": ""})
    assert _configure(tmp_path / "volume", host, scheme) == 0
    assert _files(tmp_path / "volume") == {"sub-1": "1", "sub/b": "2", "void": ""}


def test_a_list_that_fails_once_is_asked_for_again(tmp_path: Path, host: DataHost) -> None:
    Bucket(host, {"data/a": "1"}, faults=1)
    assert _configure(tmp_path / "volume", host, "s3", tries=2) == 0
    assert _files(tmp_path / "volume") == {"a": "1"}


def test_a_folder_without_objects_is_said_to_be_missing(tmp_path: Path, host: DataHost) -> None:
    Bucket(host, {"date/a": "1"})
    assert _configure(tmp_path / "volume", host, "s3") == 31
    message = (tmp_path / "volume/termination-message").read_text()
    assert message.startswith("DataUnavailable: /in: there is no object below the folder")
