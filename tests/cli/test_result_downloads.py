"""Results to disk: whole, checked, resumed, and nowhere but in the folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from support.fake_api import OWNER, FakeApi, job

from functions.cli.api_client import Client
from functions.cli.download import Download, Place, places
from functions.cli.errors import Failure

Sluice = Callable[..., Result]
CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(0, "big.bin", len(CONTENT), "output", tmp_path / "out" / "big.bin")


@pytest.fixture
def download(api: FakeApi) -> Download:
    api.publish(("big.bin", CONTENT))
    return Download(Client(api.url, "0x" + "11" * 32), "job1", OWNER, pause=lambda seconds: None)


def test_all_results_lie_in_the_folder_afterwards_logs_apart(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    api.results = [("plots/a.svg", b"<svg/>"), ("empty", b""), ("algorithm.log", b"hi")]
    kinds = ["output", "output", "algorithmLog"]
    listed = [
        {"filename": name, "filesize": len(content), "type": kind}
        for (name, content), kind in zip(api.results, kinds, strict=True)
    ]
    api.put("GET", "/compute", [job(results=listed)])
    ended = sluice("results", "job1", "--out", tmp_path / "out", "--json", "--url", api.url)
    assert ended.exit_code == 0, ended.output
    assert (tmp_path / "out/plots/a.svg").read_bytes() == b"<svg/>"
    assert (tmp_path / "out/empty").read_bytes() == b""
    assert (tmp_path / "out/logs/algorithm.log").read_bytes() == b"hi"
    assert json.loads(ended.stdout)[0]["sha256"] == hashlib.sha256(b"<svg/>").hexdigest()


def test_a_download_that_breaks_goes_on_where_it_was(api: FakeApi, download: Download, place: Place) -> None:
    api.cuts = [300_000, 200_000]
    download.fetch(place)
    assert place.path.read_bytes() == CONTENT
    starts = [asked.headers.get("Range") for asked in api.of("/getResult")]
    assert starts == [None, "bytes=300000-", "bytes=500000-"]


def test_a_later_call_goes_on_where_an_earlier_one_was_killed(api: FakeApi, download: Download, place: Place) -> None:
    place.part.parent.mkdir()
    place.part.write_bytes(CONTENT[:1000])
    download.fetch(place)
    assert place.path.read_bytes() == CONTENT
    assert api.of("/getResult")[0].headers["Range"] == "bytes=1000-"


def test_a_server_without_ranges_sends_all_of_it_again(api: FakeApi, download: Download, place: Place) -> None:
    api.ranges = False
    place.part.parent.mkdir()
    place.part.write_bytes(b"x" * 1000)
    download.fetch(place)
    assert place.path.read_bytes() == CONTENT


def test_a_part_that_does_not_fit_is_thrown_away_with_the_download(
    api: FakeApi, download: Download, place: Place
) -> None:
    place.part.parent.mkdir()
    place.part.write_bytes(b"x" * 1000)  # of another file
    with pytest.raises(Failure, match="damaged"):
        download.fetch(place)
    assert not place.path.exists()
    assert download.fetch(place)["sha256"] == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 1])
def test_a_part_that_is_whole_or_too_long_does_not_hinder(
    api: FakeApi, download: Download, place: Place, length: int
) -> None:
    place.part.parent.mkdir()
    place.part.write_bytes((CONTENT + b"x")[:length])
    download.fetch(place)
    assert place.path.read_bytes() == CONTENT
    assert not place.part.exists()


def test_a_wrong_checksum_leaves_nothing_that_looks_whole(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    api.publish(("big.bin", CONTENT))
    api.etag = "0" * 64
    ended = sluice("results", "job1", "--out", tmp_path / "out", "--url", api.url)
    assert (ended.exit_code, "damaged" in ended.stderr) == (1, True), ended.output
    assert list((tmp_path / "out").iterdir()) == []


def test_what_is_there_already_is_not_sent_again(api: FakeApi, download: Download, place: Place) -> None:
    download.fetch(place)
    before = place.path.stat().st_mtime_ns
    download.fetch(place)
    assert place.path.stat().st_mtime_ns == before
    assert "If-None-Match" in api.of("/getResult")[-1].headers


def test_a_file_of_the_same_length_with_other_content_is_replaced(
    api: FakeApi, download: Download, place: Place
) -> None:
    place.path.parent.mkdir()
    place.path.write_bytes(b"x" * len(CONTENT))
    download.fetch(place)
    assert place.path.read_bytes() == CONTENT


def test_a_server_that_gives_nothing_is_given_up_and_what_came_is_kept(
    api: FakeApi, download: Download, place: Place
) -> None:
    api.cuts = [1000] + [0] * 20
    with pytest.raises(Failure, match="broke off at 1000"):
        download.fetch(place)
    assert place.part.stat().st_size == 1000


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "a\0b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Failure, match="outside"):
        places([{"filename": name, "filesize": 1, "type": "output"}], tmp_path)


def test_results_of_the_same_place_do_not_overwrite_each_other(tmp_path: Path) -> None:
    listed = [
        {"filename": "logs/algorithm.log", "filesize": 1, "type": "output"},
        {"filename": "algorithm.log", "filesize": 1, "type": "algorithmLog"},
        {"filename": "a", "filesize": 1, "type": "output"},
        {"filename": "a.part", "filesize": 1, "type": "output"},
    ]
    found = places(listed, tmp_path)
    everywhere = [path for place in found for path in (place.path, place.part)]
    assert len(set(everywhere)) == len(everywhere)


def test_a_job_that_runs_has_nothing_to_download_yet(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    api.put("GET", "/compute", [job(status=40)])
    ended = sluice("results", "job1", "--out", tmp_path / "out", "--url", api.url)
    assert (ended.exit_code, "come at the end" in ended.stderr) == (1, True)
