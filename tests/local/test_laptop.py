"""The laptop as a whole: documents in over HTTP, real processes, results out; and what must hold when it is killed."""

from __future__ import annotations

import http.client
import http.server
import json
import os
import random
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.laptop import API, Client, Laptop, document, until
from support.serving import serving

from functions.local.isolation import Isolation
from functions.local.platform import Platform, PlatformError
from functions.local.serve import PortTaken

pytestmark = pytest.mark.xdist_group("laptop")
LONG = os.environ.get("SLUICE_LONG") == "1"
KILLS = 50 if LONG else 3
CROWD = 200 if LONG else 12

ENVIRONMENTS = """
- id: ocean-compute
  ramGB: 0.1
  maxJobs: 4
  maxJobDuration: 60
  fetch: {schemes: [http], allowPrivateAddresses: true}
  publish: {maxLogBytes: 1000000}
- id: filtered
  filterCommand: [sh, -c, "echo looked; rm $OUTPUTS/secret; test ! -e $OUTPUTS/bad"]
"""


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("environments") / "environments.yaml"
    path.write_text(ENVIRONMENTS)
    return path


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> Iterator[Laptop]:
    """One for all tests that leave it as it was."""
    laptop = Laptop(tmp_path_factory.mktemp("laptop") / "sluice", f"environments={environments}")
    laptop.start()
    yield laptop
    laptop.kill_everything()


@pytest.fixture
def mortal(tmp_path: Path, environments: Path) -> Iterator[Laptop]:
    """One that the test may kill."""
    laptop = Laptop(tmp_path / "sluice", f"environments={environments}")
    laptop.start()
    yield laptop
    laptop.kill_everything()


def attempt(info: dict[str, Any], stage: str) -> dict[str, Any]:
    """The last attempt of a stage."""
    *_, last = (each for each in info["attempts"] if each["stage"] == stage)
    found: dict[str, Any] = last
    return found


# --- how workflows end ----------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    """What lies below a folder in which things vanish meanwhile; os.walk does not mind."""
    return [name for _, folders, files in os.walk(folder) for name in (*folders, *files)]


def test_a_workflow_runs_through_all_its_stages_and_its_results_can_be_had(laptop: Laptop) -> None:
    job = laptop.submit(document("echo hello; echo 42 > $OUTPUTS/answer"))
    info = laptop.finished(job)
    assert (info["status"], info["statusText"]) == (70, "Job finished")
    assert [each["stage"] for each in info["attempts"]] == ["configure", "algorithm", "publish"]
    assert laptop.result(job, "answer") == b"42\n"
    assert laptop.result(job, "algorithm.log") == b"hello\n"


def test_the_operators_filter_decides_what_leaves(laptop: Laptop) -> None:
    good = laptop.submit(document("touch $OUTPUTS/secret; echo 1 > $OUTPUTS/good"), environment="filtered")
    info = laptop.finished(good)
    assert info["status"] == 70
    assert {file["filename"] for file in info["results"]} == {"good"}
    assert laptop.call("GET", f"{API}/logs?jobId={good}&component=filter")[1] == b"looked\n"
    bad = laptop.submit(document("touch $OUTPUTS/secret $OUTPUTS/bad"), environment="filtered")
    info = laptop.finished(bad)
    assert (info["status"], info["results"]) == (51, "")
    assert "algorithm.log" in {file["filename"] for file in info["adminFiles"]}


def test_inputs_by_url_are_there_for_the_algorithm(laptop: Laptop, tmp_path: Path) -> None:
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
def test_each_failure_has_its_own_end_and_the_log_is_kept(
    laptop: Laptop, code: str, status: int, reason: str, exit_code: int | None, stopreq: int
) -> None:
    job = laptop.submit(document(code, maxtime=1 if stopreq else None))
    info = laptop.finished(job)
    assert (info["status"], info["reason"], info["stopreq"]) == (status, reason, stopreq)
    assert attempt(info, "algorithm")["exitCode"] == exit_code
    assert laptop.result(job, "algorithm.log") == b"kept\n"


def test_a_gigabyte_of_log_is_cut_and_the_workflow_goes_on(laptop: Laptop) -> None:
    size = 1_000_000_000 if LONG else 100_000_000
    job = laptop.submit(document(f"yes | head -c {size}; echo done > $OUTPUTS/done"))
    info = laptop.finished(job)
    assert info["status"] == 70
    log = next(file for file in info["results"] if file["filename"] == "algorithm.log")
    assert 1_000_000 < log["filesize"] < 1_000_100
    assert laptop.result(job, "done") == b"done\n"


def test_an_input_that_is_not_there_ends_the_workflow_without_an_algorithm(laptop: Laptop, tmp_path: Path) -> None:
    with serving(_files(tmp_path)) as server:
        url = f"http://127.0.0.1:{server.server_address[1]}/missing?token=t0k3n"
        job = laptop.submit(document("echo never", inputs=[url]))
        info = laptop.finished(job)
    assert (info["status"], info["reason"]) == (31, "DataUnavailable")
    assert [each["stage"] for each in info["attempts"]] == ["configure", "publish"]
    assert attempt(info, "configure")["exitCode"] == 31
    assert "t0k3n" not in (laptop.folder.parent / "sluice.log").read_text()


def test_a_stop_in_mid_run_ends_the_algorithm_and_keeps_what_there_is(laptop: Laptop) -> None:
    job = laptop.submit(document("echo kept; echo half > $OUTPUTS/half; exec sleep 1000"))
    laptop.reached(job, "algorithm")
    until(lambda: laptop.call("GET", f"{API}/logs?jobId={job}&component=algorithm")[1], lambda log: b"kept" in log)
    laptop.stop(job)
    info = laptop.finished(job)
    assert (info["status"], info["stopreq"]) == (70, 1)
    assert laptop.result(job, "algorithm.log") == b"kept\n"
    assert laptop.result(job, "half") == b"half\n"


def test_after_the_end_nothing_is_left_but_the_results(laptop: Laptop) -> None:
    job = laptop.submit(document("echo hello"))
    laptop.finished(job)
    until(lambda: names(laptop.folder / "cluster"), lambda left: not any(job in name for name in left))


def test_no_more_run_at_once_than_the_environment_allows(laptop: Laptop) -> None:
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


# --- how it is reached ----------------------------------------------------------------------


def test_only_loopback_is_bound(laptop: Laptop) -> None:
    assert laptop._process is not None
    listening = _listening(laptop._process.pid)
    assert len(listening) == 5  # the gateway, the broker, three functions
    assert all(address.startswith("0100007F:") for address in listening)


def test_no_port_of_it_serves_a_page_of_another_site(laptop: Laptop) -> None:
    assert laptop._process is not None
    ports = {int(address.split(":")[1], 16) for address in _listening(laptop._process.pid)}
    for port in ports:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request("POST", f"{API}/compute", b"{}", {"Origin": "http://elsewhere.example"})
        assert connection.getresponse().status == 403
        connection.close()


def _listening(pid: int) -> list[str]:
    """Local addresses of a process's listening sockets, as /proc/net/tcp writes them; none may be of IPv6."""
    inodes = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed meanwhile
            inodes.add(os.readlink(descriptor).removeprefix("socket:[").removesuffix("]"))
    lines = [line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/net/{table}").read_text().splitlines()]
    return [fields[1] for fields in lines if fields[3] == "0A" and fields[9] in inodes]


def test_what_takes_events_cannot_be_reached_through_the_gateway(laptop: Laptop) -> None:
    for path in ("/dead-letters", "/healthz", "/advance"):
        assert laptop.call("POST", path, {})[0] == 404


def test_a_folder_is_worked_on_by_one_platform_only(laptop: Laptop) -> None:
    with (
        pytest.raises(PlatformError, match=r"another Sluice.*stop it, or give another folder"),
        Platform(laptop.folder),
    ):
        pass


def test_a_port_in_use_is_said_and_leaves_the_folder_free(laptop: Laptop, tmp_path: Path) -> None:
    port = int(laptop.url.rsplit(":", 1)[1])
    with pytest.raises(PortTaken, match=f"port {port}"), Platform(tmp_path / "sluice", port=port):
        pass
    with Platform(tmp_path / "sluice"):
        pass


def test_isolation_can_be_required(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.local.platform.probe", lambda: Isolation.NETWORK)
    with pytest.raises(PlatformError, match="isolation was required"), Platform(tmp_path, require_isolation=True):
        pass
    with Platform(tmp_path) as platform:
        assert platform.isolation is Isolation.NETWORK


def test_the_environment_is_put_back_and_a_database_of_elsewhere_is_not_touched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://somewhere/else")
    before = dict(os.environ)
    with Platform(tmp_path) as platform:
        assert os.environ["DATABASE_URL"].startswith("sqlite:///")
        assert Client(platform.url).call("GET", f"{API}/environments")[0] == 200
    assert dict(os.environ) == before


def test_parts_of_earlier_settings_in_the_same_process_are_forgotten(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from functions.engine.app import current_app

    monkeypatch.delenv("DATABASE_URL", raising=False)
    current_app.cache_clear()
    assert current_app().settings.database_url == ""
    with Platform(tmp_path) as platform:
        assert Client(platform.url).call("GET", f"{API}/environments")[0] == 200


# --- what survives --------------------------------------------------------------------------


def test_an_algorithm_outlives_the_platform_and_is_taken_up_by_the_next(mortal: Laptop) -> None:
    job = mortal.submit(document("echo once >> $OUTPUTS/starts; sleep 1.5; echo through"))
    mortal.reached(job, "algorithm")
    mortal.kill_platform()
    mortal.start()
    info = mortal.finished(job)
    assert (info["status"], len(info["attempts"])) == (70, 3)
    assert mortal.result(job, "starts") == b"once\n"
    assert mortal.result(job, "algorithm.log") == b"through\n"


def test_an_algorithm_that_was_killed_too_is_lost_and_said_so(mortal: Laptop) -> None:
    job = mortal.submit(document("echo before; exec sleep 1000"))
    mortal.reached(job, "algorithm")
    until(lambda: mortal.call("GET", f"{API}/logs?jobId={job}&component=algorithm")[1], lambda log: b"before" in log)
    mortal.kill_everything()
    mortal.start()
    info = mortal.finished(job)
    assert (info["status"], info["reason"]) == (41, "Lost")
    assert mortal.result(job, "algorithm.log") == b"before\n"


def test_killed_at_random_moments_under_load_every_workflow_ends_exactly_once(mortal: Laptop) -> None:
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
