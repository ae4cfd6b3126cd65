"""The loopback server for the files that a document names."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from functions.cli.file_server import FileServer, file_server


@pytest.fixture
def served(tmp_path: Path) -> Iterator[FileServer]:
    (tmp_path / "a b.csv").write_text("0123456789")
    (tmp_path / "private").write_text("not named")
    with file_server() as made:
        made.serve({"/a b.csv": tmp_path / "a b.csv", "/gone": tmp_path / "gone"})
        yield made


def test_a_named_file_is_served_and_so_are_ranges_of_it(served: FileServer) -> None:
    answer = urllib3.request("GET", f"{served.url}/a%20b.csv", headers={"Range": "bytes=3-5"})
    assert (answer.status, answer.data) == (206, b"345")


@pytest.mark.parametrize("path", ["/private", "/", "/../private", "/a%20b.csv/../private", "/gone"])
def test_no_other_file_is_served(served: FileServer, path: str) -> None:
    assert urllib3.request("GET", served.url + path).status == 404
