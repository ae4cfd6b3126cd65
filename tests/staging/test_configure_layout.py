"""What configure leaves on the volume, and how it ends."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace
from support.configuring import LOOPBACK, Configure, task_of
from support.datahost import DataHost, File, Held, Pattern

from functions.staging.configure.download_plan import Planner
from functions.staging.configure.program import main
from functions.workflow.progress_line import Progress, last


def test_configure_writes_the_folders_of_oceans_contract(configure: Configure, host: DataHost) -> None:
    host.routes |= {"/a": File(Held(b"one")), "/b": File(Held(b"two")), "/c": File(Held(b"three"))}
    outcome = configure(
        {"id": "did:op:aa", "url": [f"{host.url}/a", f"{host.url}/b"]},
        {"index": 1, "url": f"{host.url}/c"},
        algorithm={"rawcode": "print(1)", "algocustomdata": {"depth": 3}},
    )
    assert (outcome.code, outcome.reason) == (0, "Completed")
    assert outcome.read("inputs/aa/0") == b"one"
    assert outcome.read("inputs/aa/1") == b"two"
    assert outcome.read("inputs/1/0") == b"three"
    assert outcome.json("inputs/algoCustomData.json") == {"depth": 3}
    assert outcome.read("transformations/algorithm") == b"print(1)"
    assert {"ddos", "outputs", "logs", "adminlogs"} <= set(outcome.tree())
    assert not [name for name in outcome.tree() if name.startswith(".")]


@pytest.mark.parametrize(("given", "written"), [({"algocustomdata": None}, True), ({}, False)])
def test_custom_data_is_written_if_its_key_is_present_even_with_null(
    configure: Configure, given: dict[str, None], written: bool
) -> None:
    outcome = configure(algorithm={"rawcode": "1", **given})
    assert ("inputs/algoCustomData.json" in outcome.tree()) is written


def test_another_user_of_the_same_group_can_write_outputs_and_logs_and_read_the_rest(
    configure: Configure, host: DataHost
) -> None:
    host.routes["/a"] = File(Held(b"one"))
    volume = configure({"url": f"{host.url}/a"}).volume
    assert {(volume / name).stat().st_mode & 0o777 for name in ("outputs", "logs")} == {0o775}
    assert (volume / "inputs/0/0").stat().st_mode & 0o777 == 0o644
    assert (volume / "transformations/algorithm").stat().st_mode & 0o777 == 0o755


def test_records_size_and_hash_of_every_file_but_not_where_the_data_lies(configure: Configure, host: DataHost) -> None:
    host.routes |= {"/secret-place": File(Held(b"one")), "/algorithm.py": File(Held(b"two"))}
    outcome = configure({"url": f"{host.url}/secret-place"}, algorithm={"url": f"{host.url}/algorithm.py"})
    files = outcome.json("provenance.json")["files"]
    assert [(f["path"], f["source"], f["size"]) for f in files] == [
        ("inputs/0/0", "http", 3),
        ("transformations/algorithm", "http", 3),
    ]
    assert files[0]["sha256"] == hashlib.sha256(b"one").hexdigest()
    assert "secret-place" not in outcome.read("provenance.json").decode()


def test_the_provenance_lists_everything_that_the_algorithm_gets(configure: Configure, host: DataHost) -> None:
    host.routes |= {"/a": File(Held(b"one")), "/api/aquarius/assets/ddo/did:op:aa": File(Held(b'{"id": "did:op:aa"}'))}
    outcome = configure(
        {"id": "did:op:aa", "url": f"{host.url}/a"},
        algorithm={"rawcode": "1", "algocustomdata": {"depth": 3}},
        output={"metadataUri": host.url},
    )
    listed = outcome.json("provenance.json")["files"]
    assert [(file["path"], file["source"]) for file in listed] == [
        ("ddos/aa", "metadata"),
        ("inputs/aa/0", "http"),
        ("inputs/algoCustomData.json", "workflow"),
        ("transformations/algorithm", "rawcode"),
    ]
    for file in listed:
        content = outcome.read(file["path"])
        assert (file["size"], file["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())


def test_an_algorithm_may_have_several_files_with_a_checksum_each(configure: Configure, host: DataHost) -> None:
    host.routes |= {"/main.py": File(Held(b"one")), "/lib.py": File(Held(b"two"))}
    urls = [f"{host.url}/main.py", f"{host.url}/lib.py"]
    sums = [hashlib.sha256(each).hexdigest() for each in (b"one", b"two")]
    outcome = configure(algorithm={"url": urls, "checksum": sums})
    assert outcome.code == 0, outcome.message
    assert outcome.read("transformations/algorithm") == b"one"
    assert outcome.read("transformations/1") == b"two"
    assert (outcome.volume / "transformations/algorithm").stat().st_mode & 0o111
    assert configure(algorithm={"url": urls, "checksum": sums[::-1]}).reason == "ChecksumMismatch"


def test_progress_ends_with_all_files_and_bytes(configure: Configure, host: DataHost) -> None:
    host.routes |= {"/a": File(Pattern(700_000)), "/b": File(Pattern(300_000))}
    outcome = configure({"url": [f"{host.url}/a", f"{host.url}/b"]})
    assert outcome.progress == Progress(3, 3, 1_000_001, 1_000_001)


@pytest.mark.parametrize(
    ("inputs", "algorithm", "code", "reason"),
    [
        ([{"url": "GONE"}], {"rawcode": "1"}, 31, "DataUnavailable"),
        ([], {"url": "GONE"}, 32, "AlgorithmUnavailable"),
        ([{"url": "GONE"}], {"url": "GONE"}, 31, "DataUnavailable"),
        ([{"url": "THERE", "checksum": "0" * 64}], {"rawcode": "1"}, 31, "ChecksumMismatch"),
        ([], {"rawcode": "1", "checksum": "0" * 64}, 32, "ChecksumMismatch"),
        ([{"id": "../../etc", "url": "THERE"}], {"rawcode": "1"}, 31, "InvalidDocument"),
        ([{"id": "algoCustomData.json", "url": "THERE"}], {"rawcode": "1"}, 31, "InvalidDocument"),
        ([], {"id": "../../etc", "rawcode": "1"}, 32, "InvalidDocument"),
        ([{"url": "FORBIDDEN"}], {"rawcode": "1"}, 31, "DataForbidden"),
        ([], {"url": "FORBIDDEN"}, 32, "AlgorithmForbidden"),
        ([], {"url": "LARGE"}, 32, "AlgorithmTooLarge"),
    ],
)
def test_a_failure_has_oceans_code_and_a_reason(
    configure: Configure,
    host: DataHost,
    inputs: list[dict[str, str]],
    algorithm: dict[str, str],
    code: int,
    reason: str,
) -> None:
    host.routes["/there"] = File(Held(b"x"))
    host.routes["/large"] = File(Pattern(1 << 40))
    urls = {"GONE": f"{host.url}/gone", "THERE": f"{host.url}/there", "LARGE": f"{host.url}/large"}
    urls["FORBIDDEN"] = f"{host.url.replace('http:', 'https:')}/there"
    filled = [{k: urls.get(v, v) for k, v in each.items()} for each in (*inputs, algorithm)]
    policy = replace(LOOPBACK, schemes=("http",))
    outcome = configure(*filled[:-1], algorithm=filled[-1], policy=policy)
    assert (outcome.code, outcome.reason) == (code, reason)


def test_the_right_checksum_passes_with_and_without_its_prefix(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = File(Held(b"one"))
    digest = hashlib.sha256(b"one").hexdigest()
    url = f"{host.url}/a"
    assert configure({"url": [url, url], "checksum": [digest.upper(), f"sha256:{digest}"]}).code == 0


def test_a_file_with_the_wrong_checksum_does_not_appear(configure: Configure, host: DataHost) -> None:
    host.routes["/a"] = File(Held(b"one"))
    outcome = configure({"url": f"{host.url}/a", "checksum": "0" * 64})
    assert not [name for name in outcome.tree() if name.startswith("inputs/0/")]


def test_no_message_contains_passwords_or_query_strings(
    configure: Configure, host: DataHost, caplog: pytest.LogCaptureFixture
) -> None:
    host.routes["/a"] = File(Held(b"one"))
    address = host.url.replace("://", "://user:hunter2@")
    with caplog.at_level("INFO"):
        good = configure({"url": f"{address}/a?token=hunter3"}).everything_told()
        bad = configure({"url": f"{address}/gone?token=hunter3"})
    assert bad.code == 31
    assert "hunter" not in good + bad.everything_told() + caplog.text


def test_a_second_run_leaves_nothing_of_the_first(configure: Configure, host: DataHost) -> None:
    host.routes |= {"/a": File(Held(b"one")), "/b": File(Held(b"two"))}
    configure({"id": "did:op:other", "url": [f"{host.url}/a", f"{host.url}/b"]})
    outcome = configure({"id": "did:op:aa", "url": f"{host.url}/b"})
    assert [name for name in outcome.tree() if name.startswith("inputs")] == ["inputs", "inputs/aa", "inputs/aa/0"]
    assert outcome.read("inputs/aa/0") == b"two"


def _program(task: Path, volume: Path) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "functions.staging.configure",
        "--task",
        str(task),
        "--volume",
        str(volume),
    ]
    environment = os.environ | {"TERMINATION_LOG": str(task.parent / "termination")}
    return subprocess.Popen(command, stderr=subprocess.PIPE, env=environment)


@pytest.fixture
def task_file(tmp_path: Path, host: DataHost) -> Path:
    host.routes |= {f"/{n}": File(Pattern(400_000 + n)) for n in range(6)}
    task = task_of([{"id": "did:op:aa", "url": [f"{host.url}/{n}" for n in range(6)]}])
    path = tmp_path / "task.json"
    path.write_bytes(msgspec.json.encode(task))
    return path


def test_a_run_after_a_kill_at_any_request_gives_the_same_tree(task_file: Path, host: DataHost, tmp_path: Path) -> None:
    volume = tmp_path / "data"
    for requests in range(1, 6):
        host.seen.clear()
        killed = _program(task_file, volume)
        deadline = time.monotonic() + 10
        while len(host.seen) < requests and killed.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    again = _program(task_file, volume)
    again.communicate()
    assert again.returncode == 0
    assert [(volume / "inputs/aa" / str(n)).stat().st_size for n in range(6)] == [400_000 + n for n in range(6)]
    assert sorted(p.name for p in (volume / "inputs/aa").iterdir()) == list("012345")
    assert not (volume / ".fetching").exists()


def test_the_program_logs_to_stderr_and_to_its_own_file(task_file: Path, tmp_path: Path) -> None:
    program = _program(task_file, tmp_path / "data")
    _, printed = program.communicate()
    assert program.returncode == 0
    kept = (tmp_path / "data/adminlogs/configure.log").read_bytes()
    lines = [line for line in printed.splitlines() if not line.startswith(b"progress ")]
    assert sorted(kept.splitlines()) == sorted(lines)
    assert last([printed]) == Progress(7, 7, 2_400_016, 2_400_016)
    assert b"inputs/aa/5: 400005 bytes" in kept
    assert (tmp_path / "termination").read_text().startswith("Completed: ")


@pytest.mark.parametrize("content", [b'{"workflow": "w", "secret": "hunter2"', b"[" * 100_000, b"\xff", b"{}"])
def test_a_task_that_cannot_be_read_is_a_final_failure_and_shows_nothing(tmp_path: Path, content: bytes) -> None:
    task = tmp_path / "task.json"
    task.write_bytes(content)
    program = _program(task, tmp_path / "data")
    _, printed = program.communicate()
    assert program.returncode == 31
    assert b"Traceback" not in printed
    assert b"hunter2" not in printed
    assert (tmp_path / "termination").read_text().startswith("InvalidTask: ")


def test_a_crash_whose_cause_may_go_away_is_neither_of_the_final_codes_and_shows_no_trace(tmp_path: Path) -> None:
    program = _program(tmp_path / "missing.json", tmp_path / "data")
    _, printed = program.communicate()
    assert program.returncode == 1
    assert b"Traceback" not in printed
    assert (tmp_path / "termination").read_text() == "Crashed: configure cannot start: No such file or directory"


@pytest.mark.parametrize(("stage", "code"), [("input", 31), ("algorithm", 32)])
def test_an_unexpected_error_is_a_final_failure_of_its_part(
    configure: Configure, host: DataHost, monkeypatch: pytest.MonkeyPatch, stage: str, code: int
) -> None:
    def broken(*_: object) -> None:
        raise KeyError("hunter2")

    monkeypatch.setattr(Planner, stage, broken)
    host.routes["/a"] = File(Held(b"one"))
    outcome = configure({"url": f"{host.url}/a"})
    assert (outcome.code, outcome.reason) == (code, "InternalError")
    assert "hunter2" not in outcome.everything_told()


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), MemoryError()])
def test_an_error_of_the_machine_is_left_to_another_attempt(
    configure: Configure, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    def broken(*_: object) -> None:
        raise error

    monkeypatch.setattr(Planner, "algorithm", broken)
    with pytest.raises(type(error)):
        configure()


@pytest.mark.parametrize(
    "arguments", [[], ["--task", "x"], ["--task", "x", "--volume"], ["--task", "x", "--other", "y"]]
)
def test_a_wrong_command_line_is_answered_with_the_usage(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err == "usage: python -m functions.staging.configure --task TASK --volume VOLUME\n"


def test_a_task_that_needs_no_network_and_no_policy_imports_neither(tmp_path: Path) -> None:
    (tmp_path / "task.json").write_bytes(msgspec.json.encode(task_of()))
    code = (
        "import sys; from functions.staging.configure.program import main;"
        f"assert main(['--task', {str(tmp_path / 'task.json')!r}, '--volume', {str(tmp_path / 'data')!r}]) == 0;"
        "print([m for m in ('functions.trust', 'functions.workflow.model', 'socket', 'shutil') if m in sys.modules])"
    )
    environment = os.environ | {"TERMINATION_LOG": str(tmp_path / "termination")}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) == "[]\n"


def test_the_program_starts_without_the_heavy_libraries() -> None:
    heavy = [
        *("urllib3", "obstore", "kubernetes", "sqlalchemy", "flask", "coincurve", "Crypto"),
        *("argparse", "dataclasses", "functions.settings", "functions.workflow.model", "random", "shutil", "socket"),
    ]
    code = f"import sys, functions.staging.configure.program; print([m for m in {heavy!r} if m in sys.modules])"
    assert json.loads(subprocess.check_output([sys.executable, "-c", code])) == []
