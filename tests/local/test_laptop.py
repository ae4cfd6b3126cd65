"""Whole workflows on the laptop: over HTTP, with real processes, and while parts of it are killed."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.laptop import API, Laptop, document, until
from support.serving import serving

pytestmark = pytest.mark.xdist_group("laptop")
LONG = os.environ.get("SLUICE_LONG") == "1"
KILLS = 50 if LONG else 3
CROWD = 200 if LONG else 8  # twice what runs at once


def attempt(info: dict[str, Any], stage: str) -> dict[str, Any]:
    """The last attempt of a stage."""
    *_, last = (each for each in info["attempts"] if each["stage"] == stage)
    found: dict[str, Any] = last
    return found


def names(folder: Path) -> list[str]:
    """What lies below a folder in which things vanish meanwhile; os.walk does not mind."""
    return [name for _, folders, files in os.walk(folder) for name in (*folders, *files)]


def test_a_workflow_runs_all_stages_and_its_results_can_be_downloaded(laptop: Laptop) -> None:
    job = laptop.submit(document("echo hello; echo 42 > $OUTPUTS/answer"))
    info = laptop.finished(job)
    assert (info["status"], info["statusText"]) == (70, "Job finished")
    assert [each["stage"] for each in info["attempts"]] == ["configure", "algorithm", "publish"]
    assert laptop.result(job, "answer") == b"42\n"
    assert laptop.result(job, "algorithm.log") == b"hello\n"


def test_the_operators_filter_decides_what_is_published(laptop: Laptop) -> None:
    good = laptop.submit(document("touch $OUTPUTS/secret; echo 1 > $OUTPUTS/good"), environment="filtered")
    info = laptop.finished(good)
    assert info["status"] == 70
    assert {file["filename"] for file in info["results"]} == {"good"}
    assert laptop.call("GET", f"{API}/logs?jobId={good}&component=filter")[1] == b"looked\n"
    bad = laptop.submit(document("touch $OUTPUTS/secret $OUTPUTS/bad"), environment="filtered")
    info = laptop.finished(bad)
    assert (info["status"], info["results"]) == (51, "")
    assert "algorithm.log" in {file["filename"] for file in info["adminFiles"]}


def test_the_algorithm_finds_inputs_given_by_url(laptop: Laptop, tmp_path: Path) -> None:
    (tmp_path / "data.csv").write_text("a,b\n1,2\n")
    with serving(_files(tmp_path)) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/data.csv"
        job = laptop.submit(document("cat $INPUTS/0/0", inputs=[url]))
        laptop.finished(job)
    assert laptop.result(job, "algorithm.log") == b"a,b\n1,2\n"


def _files(folder: Path) -> http.server.ThreadingHTTPServer:
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments, directory=str(folder))

        def log_message(self, *_: Any) -> None:
            pass

    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Quiet)


@pytest.mark.parametrize(
    ("code", "status", "reason", "exit_code", "stopreq"),
    [
        ("echo kept; exit 3", 41, "AlgorithmExit:3", 3, 0),
        ("echo kept; python3 -c 'x = b\"x\" * (1 << 30)'", 41, "OOMKilled", 137, 0),
        ("echo kept; exec sleep 1000", 70, "DeadlineExceeded", None, 2),
    ],
    ids=["exits 3", "eats memory", "overruns its time"],
)
def test_each_failure_has_its_own_status_and_the_log_is_published(
    laptop: Laptop, code: str, status: int, reason: str, exit_code: int | None, stopreq: int
) -> None:
    job = laptop.submit(document(code, maxtime=1 if stopreq else None))
    info = laptop.finished(job)
    assert (info["status"], info["reason"], info["stopreq"]) == (status, reason, stopreq)
    assert attempt(info, "algorithm")["exitCode"] == exit_code
    # A shell says so if the kernel kills its program, and not the shell as well.
    assert laptop.result(job, "algorithm.log").removesuffix(b"Killed\n") == b"kept\n"


def test_a_gigabyte_of_log_is_cut_and_the_workflow_succeeds(laptop: Laptop) -> None:
    size = 1_000_000_000 if LONG else 100_000_000
    job = laptop.submit(document(f"yes | head -c {size}; echo done > $OUTPUTS/done"))
    info = laptop.finished(job)
    assert info["status"] == 70
    log = next(file for file in info["results"] if file["filename"] == "algorithm.log")
    assert 1_000_000 < log["filesize"] < 1_000_100
    assert laptop.result(job, "done") == b"done\n"


def test_a_missing_input_ends_the_workflow_before_the_algorithm(laptop: Laptop, tmp_path: Path) -> None:
    with serving(_files(tmp_path)) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/missing?token=t0k3n"
        job = laptop.submit(document("echo never", inputs=[url]))
        info = laptop.finished(job)
    assert (info["status"], info["reason"]) == (31, "DataUnavailable")
    assert [each["stage"] for each in info["attempts"]] == ["configure", "publish"]
    assert attempt(info, "configure")["exitCode"] == 31
    assert "t0k3n" not in (laptop.folder.parent / "sluice.log").read_text()


def test_a_stopped_algorithm_keeps_its_log_and_its_outputs(laptop: Laptop) -> None:
    job = laptop.submit(document("echo kept; echo half > $OUTPUTS/half; exec sleep 1000"))
    laptop.reached(job, "algorithm")
    until(lambda: laptop.call("GET", f"{API}/logs?jobId={job}&component=algorithm")[1], lambda log: b"kept" in log)
    laptop.stop(job)
    info = laptop.finished(job)
    assert (info["status"], info["stopreq"]) == (70, 1)
    assert laptop.result(job, "algorithm.log") == b"kept\n"
    assert laptop.result(job, "half") == b"half\n"


def test_only_the_results_remain_after_the_end(laptop: Laptop) -> None:
    job = laptop.submit(document("echo hello"))
    laptop.finished(job)
    until(lambda: names(laptop.folder / "cluster"), lambda left: not any(job in name for name in left))


def test_no_more_workflows_run_at_once_than_the_environment_allows(laptop: Laptop) -> None:
    with ThreadPoolExecutor(16) as pool:
        jobs = list(pool.map(lambda _: laptop.submit(document("exit 0")), range(CROWD)))
    infos = [laptop.finished(job, seconds=300) for job in jobs]
    assert {info["status"] for info in infos} == {70}
    assert _most_at_once([laptop.history(job) for job in jobs]) == 4


def _most_at_once(histories: list[list[dict[str, Any]]]) -> int:
    """Between the start of configure and the end."""
    begins = [(float(next(line["at"] for line in lines if line["after"] == "configure")), 1) for lines in histories]
    ends = [(float(lines[-1]["at"]), -1) for lines in histories]
    now = most = 0
    for _, change in sorted(begins + ends):  # an end and the start it makes room for have the same time
        now += change
        most = max(most, now)
    return most


def test_the_next_platform_adopts_a_running_algorithm(mortal: Laptop) -> None:
    job = mortal.submit(document("echo once >> $OUTPUTS/starts; sleep 1.5; echo through"))
    mortal.reached(job, "algorithm")
    mortal.kill_platform()
    mortal.start()
    info = mortal.finished(job)
    assert (info["status"], len(info["attempts"])) == (70, 3)
    assert mortal.result(job, "starts") == b"once\n"
    assert mortal.result(job, "algorithm.log") == b"through\n"


def test_an_algorithm_that_was_killed_is_reported_as_lost(mortal: Laptop) -> None:
    job = mortal.submit(document("echo before; exec sleep 1000"))
    mortal.reached(job, "algorithm")
    until(lambda: mortal.call("GET", f"{API}/logs?jobId={job}&component=algorithm")[1], lambda log: b"before" in log)
    mortal.kill_everything()
    mortal.start()
    info = mortal.finished(job)
    assert (info["status"], info["reason"]) == (41, "Lost")
    assert mortal.result(job, "algorithm.log") == b"before\n"


def test_every_workflow_ends_once_although_everything_is_killed_at_random(mortal: Laptop) -> None:
    chance = random.Random(os.environ.get("SLUICE_SEED", "1"))
    jobs = []
    for _ in range(KILLS):
        jobs += [mortal.submit(document("sleep 0.2; echo done > $OUTPUTS/done")) for _ in range(3)]
        time.sleep(chance.uniform(0, 1))  # the moment of the kill
        mortal.kill_everything()
        mortal.start()
    ends: Counter[str] = Counter()
    for job in jobs:
        info = mortal.finished(job, seconds=300)
        history = mortal.history(job)
        assert [line["step"] for line in history] == list(range(1, len(history) + 1))
        assert [line["after"] for line in history].count("finished") == 1
        assert sum(each["stage"] == "algorithm" for each in info["attempts"]) <= 1
        ends[f"{info['status']} {info.get('reason') or ''}".strip()] += 1
    print(f"\n{KILLS} kills of everything, {len(jobs)} workflows, all ended once: {json.dumps(ends)}")
