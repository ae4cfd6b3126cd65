"""Configure as a process: its command line, log and exit codes, and a run after a kill."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from support.configuring import task_of
from support.datahost import DataHost, File, Pattern

from functions.staging.configure.program import main
from functions.workflow.progress_line import Progress, last


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
        "import sys; before = set(sys.modules); from functions.staging.configure.program import main;"
        f"assert main(['--task', {str(tmp_path / 'task.json')!r}, '--volume', {str(tmp_path / 'data')!r}]) == 0;"
        "unwanted = {'functions.trust', 'functions.workflow.model', 'socket', 'shutil'};"
        "print([m for m in sys.modules.keys() - before if m in unwanted])"
    )
    environment = os.environ | {"TERMINATION_LOG": str(tmp_path / "termination")}
    assert subprocess.check_output([sys.executable, "-c", code], env=environment, text=True) == "[]\n"


def test_the_program_starts_without_the_heavy_libraries() -> None:
    heavy = [
        *("urllib3", "obstore", "kubernetes", "sqlalchemy", "flask", "coincurve", "Crypto"),
        *("argparse", "dataclasses", "functions.settings", "functions.workflow.model", "random", "shutil", "socket"),
    ]
    code = (
        "import sys; before = set(sys.modules); import functions.staging.configure.program;"
        f"print([m for m in {heavy!r} if m in sys.modules.keys() - before])"
    )
    assert json.loads(subprocess.check_output([sys.executable, "-c", code])) == []
