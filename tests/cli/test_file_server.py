"""The files that a document names, on loopback while it runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import urllib3

from functions.cli.file_server import Shelf, shelf


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Shelf]:
    (tmp_path / "a b.csv").write_text("0123456789")
    (tmp_path / "private").write_text("not named")
    with shelf() as made:
        made.fill({"/a b.csv": tmp_path / "a b.csv", "/gone": tmp_path / "gone"})
        yield made


def test_a_named_file_is_served_in_ranges_too(served: Shelf) -> None:
    answer = urllib3.request("GET", f"{served.url}/a%20b.csv", headers={"Range": "bytes=3-5"})
    assert (answer.status, answer.data) == (206, b"345")


@pytest.mark.parametrize("path", ["/private", "/", "/../private", "/a%20b.csv/../private", "/gone"])
def test_nothing_else_is_served(served: Shelf, path: str) -> None:
    assert urllib3.request("GET", served.url + path).status == 404
