"""What a document may have read from this machine: what the environment allows by name."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.laptop import Laptop, document

pytestmark = pytest.mark.xdist_group("e2e")


@pytest.mark.parametrize("url", ["file:///etc/hostname", "http://127.0.0.1:9/a"])
def test_an_environment_of_ones_own_refuses_files_and_plain_http_at_the_door(laptop: Laptop, url: str) -> None:
    with pytest.raises(AssertionError, match="expected a URL with one of the schemes"):
        laptop.submit(document("true", inputs=[url]), environment="closed")


def test_an_environment_of_ones_own_fetches_from_no_private_address(laptop: Laptop) -> None:
    info = laptop.finished(laptop.submit(document("true", inputs=["https://127.0.0.1:9/a"]), environment="closed"))
    assert (info["status"], info["reason"]) == (31, "DataForbidden")


def test_one_that_allows_files_reads_them(laptop: Laptop, tmp_path: Path) -> None:
    (tmp_path / "open").write_text("for all")
    job = laptop.submit(document("cat $INPUTS/0/0", inputs=[f"file://{tmp_path}/open"]))
    assert laptop.finished(job)["status"] == 70
    assert laptop.result(job, "algorithm.log") == b"for all"
