"""The filter that is shipped, between algorithm and publish of real workflows: what it does not let out stays in."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.laptop import API, Laptop, document

pytestmark = pytest.mark.xdist_group("e2e")


def ended(laptop: Laptop, code: str) -> tuple[str, dict[str, Any], set[str]]:
    """The job, what became of it, and the names of all that was published."""
    job = laptop.submit(document(code), environment="filtered")
    info = laptop.finished(job)
    return job, info, {file["filename"] for file in info["results"]}


def stored(laptop: Laptop, job: str) -> set[str]:
    """The names of all files that lie in the storage of results, listed or not."""
    return {path.name for path in (laptop.folder / "results" / job).rglob("*") if path.is_file()}


def said(laptop: Laptop, job: str, stage: str = "filter") -> bytes:
    return laptop.call("GET", f"{API}/logs?jobId={job}&component={stage}")[1]


def test_outputs_that_pass_the_filter_are_published(laptop: Laptop) -> None:
    job, info, names = ended(laptop, "echo 1 > $OUTPUTS/a.csv; echo 22 > $OUTPUTS/b.txt")
    assert (info["status"], names) == (70, {"a.csv", "b.txt"})
    assert [each["stage"] for each in info["attempts"]] == ["configure", "algorithm", "filter", "publish"]
    assert said(laptop, job) == b"passed: 2 files, 5 bytes\n"
    assert laptop.result(job, "a.csv") == b"1\n"


def test_outputs_that_the_filter_deletes_are_not_published(laptop: Laptop) -> None:
    job, info, names = ended(laptop, "echo 1 > $OUTPUTS/a.csv; echo 2 > $OUTPUTS/raw.parquet; echo 3 > $LOGS/raw.bin")
    assert (info["status"], names) == (70, {"a.csv"})
    assert stored(laptop, job).isdisjoint({"raw.parquet", "raw.bin"})
    assert said(laptop, job).count(b"deleted, its type may not leave") == 1


def test_no_output_is_published_if_the_filter_refuses(laptop: Laptop) -> None:
    job, info, names = ended(
        laptop, "echo hello; for n in 1 2 3; do echo $n > $OUTPUTS/$n.csv; done; echo x > $LOGS/x.txt"
    )
    assert (info["status"], info["reason"], names) == (51, "FilterExit:1", set())
    assert stored(laptop, job).isdisjoint({"1.csv", "2.csv", "3.csv", "x.txt"})


@pytest.mark.parametrize("end", ["exit 3", "kill -9 $$"])
def test_a_failed_algorithm_publishes_nothing_where_there_is_a_filter(laptop: Laptop, end: str) -> None:
    job, info, names = ended(laptop, f"echo hello; echo 1 > $OUTPUTS/raw.parquet; echo 2 > $LOGS/raw.bin; {end}")
    assert info["status"] == 41
    assert names == set()
    assert stored(laptop, job).isdisjoint({"raw.parquet", "raw.bin"})


@pytest.mark.parametrize(
    ("end", "status"),
    [("true", 70), ("for n in 1 2 3; do echo > $OUTPUTS/$n.csv; done", 51), ("exit 3", 41)],
    ids=["passed", "refused", "failed"],
)
def test_only_the_operator_sees_what_a_filtered_algorithm_prints(
    laptop: Laptop, tmp_path: Path, end: str, status: int
) -> None:
    (tmp_path / "data").write_text("a patient")
    code = f"cat $INPUTS/0/0; cat $INPUTS/0/0 > $LOGS/more.txt; {end}"
    job = laptop.submit(document(code, inputs=[f"file://{tmp_path}/data"]), environment="filtered")
    info = laptop.finished(job)
    assert info["status"] == status
    assert "algorithmLog" not in {file["type"] for file in info["results"]}
    assert said(laptop, job, "algorithm") == b"a patient"
    kept = laptop.folder / "results" / job
    holding = {str(path.relative_to(kept / "1")) for path in kept.rglob("*.*") if b"a patient" in path.read_bytes()}
    assert holding == {"adminlogs/algorithm.log"}
