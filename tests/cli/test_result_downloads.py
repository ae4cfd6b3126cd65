"""Results to disk: whole, checked, resumed, and nowhere but in the folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from support.fake_api import OWNER, FakeApi, Sluice, job

from functions.cli.api_client import Client
from functions.cli.command_errors import CommandError
from functions.cli.download import Downloader, Target, targets
from functions.cli.results_folder import OWN_FILES, RECORD

CONTENT = bytes(range(256)) * 4096  # 1 MiB


@pytest.fixture
def target(tmp_path: Path) -> Target:
    return Target(0, "big.bin", len(CONTENT), "output", tmp_path / "out" / "big.bin")


@pytest.fixture
def downloader(api: FakeApi) -> Downloader:
    api.publish(("big.bin", CONTENT))
    return Downloader(Client(api.url, "0x" + "11" * 32), "job1", OWNER, pause=lambda seconds: None)


def test_results_that_were_removed_are_not_taken_for_none(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    api.put("GET", "/compute", [job(results="", removed=1)])
    ended = sluice("results", "job1", "--out", tmp_path / "out", "--url", api.url)
    assert (ended.exit_code, "were removed" in ended.output) == (1, True)
    assert not (tmp_path / "out").exists()


def test_results_are_saved_in_the_folder_and_logs_in_a_subfolder(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
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


def test_a_broken_download_resumes(api: FakeApi, downloader: Downloader, target: Target) -> None:
    api.cuts = [300_000, 200_000]
    downloader.fetch(target)
    assert target.path.read_bytes() == CONTENT
    starts = [asked.headers.get("Range") for asked in api.of("/getResult")]
    assert starts == [None, "bytes=300000-", "bytes=500000-"]


def test_a_download_that_was_killed_resumes_in_the_next_call(
    api: FakeApi, downloader: Downloader, target: Target
) -> None:
    target.part.parent.mkdir()
    target.part.write_bytes(CONTENT[:1000])
    downloader.fetch(target)
    assert target.path.read_bytes() == CONTENT
    assert api.of("/getResult")[0].headers["Range"] == "bytes=1000-"


def test_a_server_without_ranges_sends_the_whole_file_again(
    api: FakeApi, downloader: Downloader, target: Target
) -> None:
    api.ranges = False
    target.part.parent.mkdir()
    target.part.write_bytes(b"x" * 1000)
    downloader.fetch(target)
    assert target.path.read_bytes() == CONTENT


def test_a_partial_file_with_wrong_content_is_discarded(api: FakeApi, downloader: Downloader, target: Target) -> None:
    target.part.parent.mkdir()
    target.part.write_bytes(b"x" * 1000)  # of another file
    with pytest.raises(CommandError, match="damaged"):
        downloader.fetch(target)
    assert not target.path.exists()
    assert downloader.fetch(target)["sha256"] == hashlib.sha256(CONTENT).hexdigest()


@pytest.mark.parametrize("length", [len(CONTENT), len(CONTENT) + 1])
def test_a_partial_file_that_is_complete_or_too_long_does_no_harm(
    api: FakeApi, downloader: Downloader, target: Target, length: int
) -> None:
    target.part.parent.mkdir()
    target.part.write_bytes((CONTENT + b"x")[:length])
    downloader.fetch(target)
    assert target.path.read_bytes() == CONTENT
    assert not target.part.exists()


def test_a_file_with_a_wrong_checksum_is_not_kept(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    api.publish(("big.bin", CONTENT))
    api.etag = "0" * 64
    ended = sluice("results", "job1", "--out", tmp_path / "out", "--url", api.url)
    assert (ended.exit_code, "damaged" in ended.stderr) == (1, True), ended.output
    assert [path.name for path in (tmp_path / "out").iterdir()] == [RECORD]


def test_a_file_that_is_already_saved_is_not_downloaded_again(
    api: FakeApi, downloader: Downloader, target: Target
) -> None:
    downloader.fetch(target)
    before = target.path.stat().st_mtime_ns
    downloader.fetch(target)
    assert target.path.stat().st_mtime_ns == before
    assert "If-None-Match" in api.of("/getResult")[-1].headers


def test_a_file_of_the_same_length_with_other_content_is_replaced(
    api: FakeApi, downloader: Downloader, target: Target
) -> None:
    target.path.parent.mkdir()
    target.path.write_bytes(b"x" * len(CONTENT))
    downloader.fetch(target)
    assert target.path.read_bytes() == CONTENT


def test_a_server_that_sends_nothing_is_given_up_and_the_partial_file_is_kept(
    api: FakeApi, downloader: Downloader, target: Target
) -> None:
    api.cuts = [1000] + [0] * 20
    with pytest.raises(CommandError, match="broke off at 1000"):
        downloader.fetch(target)
    assert target.part.stat().st_size == 1000


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x", "", "a\0b"])
def test_a_name_that_leads_out_of_the_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(CommandError, match="outside"):
        targets([{"filename": name, "filesize": 1, "type": "output"}], tmp_path)


def test_results_with_the_same_path_do_not_overwrite_each_other(tmp_path: Path) -> None:
    listed = [
        {"filename": "logs/algorithm.log", "filesize": 1, "type": "output"},
        {"filename": "algorithm.log", "filesize": 1, "type": "algorithmLog"},
        {"filename": "a", "filesize": 1, "type": "output"},
        {"filename": "a.part", "filesize": 1, "type": "output"},
    ]
    found = targets(listed, tmp_path)
    everywhere = [path for target in found for path in (target.path, target.part)]
    assert len(set(everywhere)) == len(everywhere)


def test_an_output_may_have_the_name_of_a_folder_that_is_needed(tmp_path: Path) -> None:
    listed = [
        {"filename": "logs", "filesize": 1, "type": "output"},
        {"filename": "algorithm.log", "filesize": 1, "type": "algorithmLog"},
        {"filename": "tables/a", "filesize": 1, "type": "output"},
        {"filename": "tables", "filesize": 1, "type": "output"},
    ]
    found = [target.path for target in targets(listed, tmp_path)]
    assert found[1:3] == [tmp_path / "logs" / "algorithm.log", tmp_path / "tables" / "a"]
    for path in found:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(exist_ok=False)


def test_no_result_replaces_the_record_of_the_folder(tmp_path: Path) -> None:
    listed = [{"filename": name, "filesize": 1, "type": "output"} for name in OWN_FILES]
    found = targets(listed, tmp_path)
    assert {target.path.name for target in found} == {f"{name}~" for name in OWN_FILES}


def test_results_with_names_that_are_too_long_for_a_file_are_saved(
    sluice: Sluice, api: FakeApi, tmp_path: Path
) -> None:
    names = ["a" * 255, "a" * 256, f"{'ä' * 127}x/{'b' * 255}", "a" * 240]
    api.publish(*((name, name.encode()) for name in names))
    ended = sluice("results", "job1", "--out", "out", "--json", "--url", api.url)
    assert ended.exit_code == 0, ended.output
    saved = [Path(each["path"]) for each in json.loads(ended.stdout)]
    assert [path.read_text() for path in saved] == names
    assert saved[3].name == names[3]


def test_outputs_that_were_left_out_are_told_with_the_results(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    warnings = [f"outputs/{n} is not published: it is a pipe" for n in range(12)]
    api.results = [("a", b"x")]
    api.put("GET", "/compute", [job(results=[{"filename": "a", "filesize": 1, "type": "output"}], warnings=warnings)])
    for command in (("results", "job1", "--out", "out"), ("status", "job1")):
        ended = sluice(*command, "--url", api.url)
        assert f"Warning: {warnings[9]}\n… 2 more warnings are in the status as JSON" in ended.output


def test_a_running_job_has_no_results_to_download(sluice: Sluice, api: FakeApi, tmp_path: Path) -> None:
    api.put("GET", "/compute", [job(status=40)])
    ended = sluice("results", "job1", "--out", tmp_path / "out", "--url", api.url)
    assert (ended.exit_code, "has no results before it ends" in ended.stderr) == (1, True)
