"""`sluice run` and `sluice up` as users start them: real processes on the real local platform."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.laptop import document, until

from functions.cli.up import program_name

ROOT = Path(__file__).parents[2]
PENGUINS = ROOT / "examples" / "penguins" / "workflow.json"
Start = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts the command with a home folder of its own; kills what still runs at the end."""
    started: list[subprocess.Popen[str]] = []
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")}

    def call(*arguments: object, **variables: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "functions.cli.main", *map(str, arguments)],
            cwd=tmp_path,
            env={**kept, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT), **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.communicate()


def ended(process: subprocess.Popen[str]) -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def written(folder: Path, content: Any) -> Path:
    (folder / "work.json").write_text(json.dumps(content))
    return folder / "work.json"


def test_the_demo_shows_its_stages_and_saves_its_results_each_time(start: Start, tmp_path: Path) -> None:
    for _ in range(2):
        code, out, err = ended(start("run", PENGUINS))
        assert code == 0, out + err
        shown = re.findall(r"✓ (\w+) +\d+\.\d\d s", out)
        assert shown == ["configure", "algorithm", "publish"]
        assert "isolation: " in out
        assert re.search(r"statistics\.json +\d\.\d kB +out/penguins/statistics\.json", out)
        assert "\x1b" not in out
    left = {path.relative_to(tmp_path / "out/penguins").as_posix() for path in (tmp_path / "out").rglob("*.*")}
    results = {"penguins.svg", "statistics.csv", "statistics.json", "logs/algorithm.log"}
    assert left == {*results, ".sluice-results.json"}
    assert json.loads((tmp_path / "out/penguins/statistics.json").read_text())["Gentoo"]["count"] == 123


def test_a_failed_algorithm_gives_exit_code_1_and_shows_its_exit_code_and_log(start: Start, tmp_path: Path) -> None:
    work = written(tmp_path, document("echo half > $OUTPUTS/half; echo no such column >&2; exit 3"))
    code, out, _ = ended(start("run", work, "--out", "o", "--dir", "kept"))
    assert code == 1
    assert "AlgorithmExit:3" in out
    assert re.search(r"exit code +3", out)
    assert "  no such column" in out
    assert (tmp_path / "o/logs/algorithm.log").read_text() == "no such column\n"
    assert (tmp_path / "kept/sluice.db").exists()


def test_with_json_stdout_holds_json_only(start: Start, tmp_path: Path) -> None:
    work = written(tmp_path, document("echo 1 > $OUTPUTS/one"))
    code, out, err = ended(start("run", work, "--json"))
    report = json.loads(out)
    assert (code, report["status"]) == (0, 70), err
    assert [stage["outcome"] for stage in report["stages"]] == ["succeeded"] * 3
    assert {Path(result["path"]).name for result in report["results"]} == {"one", "algorithm.log"}


def test_a_second_run_into_the_same_folder_replaces_the_results_of_the_first(start: Start, tmp_path: Path) -> None:
    for name in ("one", "two"):
        code, out, err = ended(start("run", written(tmp_path, document(f"echo > $OUTPUTS/{name}")), "--out", "o"))
        assert code == 0, out + err
    assert sorted(path.name for path in (tmp_path / "o").iterdir()) == [".sluice-results.json", "logs", "two"]


def test_a_folder_with_other_files_is_refused_before_anything_runs(start: Start, tmp_path: Path) -> None:
    code, out, err = ended(start("run", written(tmp_path, document("true")), "--out", ".", "--dir", "kept"))
    assert (code, out) == (2, "")
    assert "not a folder of results" in err
    assert not (tmp_path / "kept").exists()


def test_a_yaml_file_of_a_workflow_object_runs(start: Start, tmp_path: Path) -> None:
    made = {"kind": "WorkFlow", "metadata": {"name": "w"}, "spec": {"metadata": document("echo 1 > $OUTPUTS/one")}}
    (tmp_path / "work.yaml").write_text(yaml.safe_dump(made))
    code, out, err = ended(start("run", "work.yaml"))
    assert code == 0, out + err
    assert (tmp_path / "out" / "work" / "one").read_text() == "1\n"


def test_an_environment_that_is_paused_is_refused_instead_of_waited_for(start: Start, tmp_path: Path) -> None:
    (tmp_path / "paused.yaml").write_text("- {id: closed, maxJobs: 0}")
    code, _, err = ended(start("run", written(tmp_path, document("true")), "--environments", "paused.yaml"))
    assert (code, "environment closed is paused (its maxJobs is 0)" in err) == (2, True), err


def test_a_missing_input_file_is_reported_before_anything_starts(start: Start, tmp_path: Path) -> None:
    code, _, err = ended(start("run", written(tmp_path, document("true", inputs=["none.csv"]))))
    assert (code, "$.stages[0].input[0].url[0]" in err) == (2, True), err


def test_an_unwritable_output_folder_is_reported_before_anything_runs(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    work = written(tmp_path, document("true"))
    code, out, err = ended(start("run", work, "--out", "file/results", "--dir", "kept"))
    assert (code, out) == (2, "")
    assert "file/results: cannot write results there (Not a directory)" in err
    assert not (tmp_path / "kept").exists()


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("id: a", "must hold a list of at least one environment"),
        ("- {id: a, ramGB: many}", "environments[0].ramGB must be a number"),
    ],
)
@pytest.mark.parametrize("command", [["up", "--port", "0"], ["run", PENGUINS]])
def test_an_invalid_environments_file_is_refused_at_the_start_by_its_name(
    start: Start, tmp_path: Path, command: list[object], content: str, fault: str
) -> None:
    (tmp_path / "bad.yaml").write_text(content)
    code, out, err = ended(start(*command, "--environments", "bad.yaml"))
    assert (code, out) == (2, ""), err
    assert f"Error: bad.yaml: {fault}" in err


def test_up_prints_its_address_as_json_for_scripts(start: Start, tmp_path: Path) -> None:
    up = start("up", "--port", "0", "--json")
    assert up.stdout is not None
    told = json.loads("".join(iter(up.stdout.readline, "}\n")) + "}")
    assert told["folder"] == str(tmp_path / ".sluice")
    with urllib.request.urlopen(f"{told['url']}/api/v1/operator/environments", timeout=10) as answer:
        assert answer.status == 200


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_stops_the_workflow_publishes_its_results_and_leaves_no_process(
    start: Start, tmp_path: Path, number: signal.Signals
) -> None:
    marker = tmp_path / "kept"
    work = written(tmp_path, document("echo begun; sleep 600"))
    process = start("run", work, "--out", "o", "--dir", marker)
    until(lambda: _has_printed(marker, "begun"), bool)
    process.send_signal(number)
    code, out, err = ended(process)
    assert code == 130, out + err
    assert "Stopped" in out
    assert (tmp_path / "o/logs/algorithm.log").read_text() == "begun\n"
    assert not [pid for pid in os.listdir("/proc") if pid.isdigit() and str(marker) in _command(pid)]


def test_up_serves_the_other_commands_until_it_is_stopped(start: Start, tmp_path: Path) -> None:
    up = start("up", "--port", "0")
    assert up.stdout is not None
    shown = [up.stdout.readline()]
    while "sluice submit" not in shown[-1]:
        shown.append(up.stdout.readline())
    url = shown[0].split()[-1]
    with urllib.request.urlopen(f"{url}/api/v1/operator/environments", timeout=10) as answer:
        assert json.load(answer)[0]["id"] == "ocean-compute"
    code, job, err = ended(start("submit", PENGUINS, "--wait", "--url", url))
    assert code == 0, err
    code, out, err = ended(start("results", job.strip(), "--out", "got", "--url", url))
    assert (code, "penguins.svg" in out) == (0, True), err
    code, out, _ = ended(start("history", job.strip(), "--json", "--url", url))
    assert [line["event"] for line in json.loads(out)][-1] == "publish succeeded"
    up.send_signal(signal.SIGTERM)
    code, out, err = ended(up)
    assert (code, "Traceback" in err) == (0, False), err
    assert shown[-1].strip() == f"sluice submit examples/penguins/workflow.json --wait --url {url}"
    assert (tmp_path / ".sluice" / "sluice.log").exists()
    assert [line.split()[0] for line in shown[1:6]] == ["console", "isolation", "files", "visible", "provider"]
    assert f"{url}/console/" in shown[1]
    assert "to algorithms: /" in shown[4] or "all that" in shown[4]
    assert "consumerAddress 0x" in shown[5]
    assert str(tmp_path / ".sluice" / "credentials") in shown[5]


def test_an_endpoint_of_telemetry_without_its_extra_is_pointed_out_with_the_remedy(
    start: Start, tmp_path: Path
) -> None:
    (tmp_path / "opentelemetry").mkdir()  # an empty package hides the installed one: it is in the current folder
    (tmp_path / "opentelemetry" / "__init__.py").touch()
    work = written(tmp_path, document("true"))
    code, _, err = ended(start("run", work, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9"))
    assert code == 0, err
    assert "Warning: OTEL_EXPORTER_OTLP_ENDPOINT is set, but the extra `otel` is not installed" in err
    assert "pip install -c constraints.txt '.[otel]'" in err


def test_a_folder_that_cannot_be_shown_is_refused_with_the_reason(start: Start) -> None:
    code, _, err = ended(start("up", "--port", "0", "--show", "/no/such/folder"))
    assert (code, "/no/such/folder cannot be shown: it does not exist" in err) == (2, True), err


def test_a_shown_folder_is_readable_for_the_algorithm(start: Start, tmp_path: Path) -> None:
    (tmp_path / "sets").mkdir()
    (tmp_path / "sets" / "a.csv").write_text("1,2\n")
    tmp_path.chmod(0o755)
    work = written(tmp_path, document(f"cat {tmp_path}/sets/a.csv > $OUTPUTS/copy"))
    code, out, err = ended(start("run", work, "--show", "sets"))
    assert code == 0, out + err
    assert (tmp_path / "out" / "work" / "copy").read_text() == "1,2\n"


@pytest.mark.parametrize(
    ("program", "named"),
    [(".venv/bin/sluice", ".venv/bin/sluice"), ("my env/sluice", "'my env/sluice'"), ("cli/main.py", "sluice")],
)
def test_the_command_to_try_next_is_named_as_this_one_was_called(
    monkeypatch: pytest.MonkeyPatch, program: str, named: str
) -> None:
    monkeypatch.setattr(sys, "argv", [program, "up"])
    assert program_name() == named


def test_a_taken_port_and_a_taken_folder_are_bad_use(start: Start) -> None:
    up = start("up", "--port", "0", "--dir", "d")
    assert up.stdout is not None
    url = up.stdout.readline().split()[-1]
    code, _, err = ended(start("up", "--port", url.rsplit(":", 1)[1], "--dir", "e"))
    assert (code, "cannot be used" in err) == (2, True), err
    code, _, err = ended(start("up", "--port", "0", "--dir", "d"))
    assert (code, "another Sluice" in err) == (2, True), err


def _has_printed(folder: Path, text: str) -> bool:
    """Whether a log below a folder has this text. The stages make and remove folders while this looks."""
    with suppress(FileNotFoundError):
        return any(text in log.read_text() for log in folder.rglob("*log"))
    return False


def _command(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except OSError:
        return ""
