"""publish as the Job runs it: a process, its exit code, its termination message, its memory."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyrage
import pytest
from support.peak import measured
from support.publishing import task, volume, write_task

from functions.results.files import FileStorage
from functions.results.storage import open_url
from functions.staging.publish import program
from functions.workflow.endings import FINAL_REASONS
from functions.workflow.model import WorkflowId
from functions.workflow.progress_line import Progress, last
from functions.workflow.stage_options import PublishOptions
from functions.workflow.stage_task import Task

W = WorkflowId("w1")
LONG = "SLUICE_LONG" in os.environ
MIB = 1 << 20


def run(root: Path, given: Task, scope: str = "all", **environ: str) -> tuple[int, str, int]:
    """The exit code, the termination message and the peak of resident memory in bytes."""
    message = root / "message"
    command = [sys.executable, "-m", "functions.staging.publish", "--volume", str(root), "--attempt", "1"]
    command += ["--scope", scope, "--task", str(write_task(root / "task.json", given))]
    environment = {**os.environ, **environ, "TERMINATION_LOG": str(message)}
    code, memory = measured(command, environment, root / "stderr")
    return code, message.read_text(), memory


def test_success_exits_with_0_and_complete_progress(tmp_path: Path) -> None:
    root = volume(tmp_path / "v")
    code, message, _ = run(root, task((tmp_path / "results").as_uri()))
    assert (code, message) == (0, "Published: files: 6")
    manifest = FileStorage(tmp_path / "results").manifest(W, 1)
    assert manifest is not None
    assert manifest.admin_files[-1].type == "publishLog"
    assert last([(root / "stderr").read_bytes()]) == Progress(6, 6, 35, 35)
    assert b"progress" not in (root / "adminlogs" / "publish.log").read_bytes()


def test_a_failure_exits_with_62_and_a_reason(tmp_path: Path) -> None:
    root = volume(tmp_path / "v")
    code, message, _ = run(root, task((tmp_path / "results").as_uri(), PublishOptions(max_files=1)))
    assert code == 62
    assert message == (
        "TooManyResults: more than 1 files: write fewer files, for example one archive, "
        "or ask the operator to raise publish.maxFiles"
    )


def test_a_tree_that_is_too_deep_has_its_own_final_reason(tmp_path: Path) -> None:
    root = volume(tmp_path / "v")
    (root / "outputs" / "/".join(["d"] * 101)).mkdir(parents=True)
    code, message, _ = run(root, task((tmp_path / "results").as_uri()))
    assert (code, message.split(":")[0]) == (62, "TreeTooDeep")
    assert "TreeTooDeep" in FINAL_REASONS


@pytest.mark.parametrize("content", [b'{"secret": "hunter2"', b"[" * 100_000, b"\xff", b"{}"])
def test_a_task_that_cannot_be_read_is_a_final_failure(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "task").write_bytes(content)
    given = ["--task", str(tmp_path / "task"), "--volume", str(tmp_path), "--attempt", "1", "--scope", "all"]
    ended = subprocess.run(
        [sys.executable, "-m", "functions.staging.publish", *given],
        env={**os.environ, "TERMINATION_LOG": str(tmp_path / "message")},
        capture_output=True,
        check=False,
    )
    message = (tmp_path / "message").read_text()
    assert (ended.returncode, message.split(":")[0]) == (62, "InvalidTask")
    assert b"Traceback" not in ended.stderr
    assert b"hunter2" not in ended.stderr
    assert "InvalidTask" in FINAL_REASONS


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [(KeyError("hunter2"), 62, "InternalError"), (OSError(5, "hunter2"), 1, "Crashed"), (MemoryError(), 1, "Crashed")],
)
def test_an_unexpected_error_is_final_unless_its_cause_may_go_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception, code: int, reason: str
) -> None:
    def broken(*_: object) -> None:
        raise error

    root = volume(tmp_path / "v")
    monkeypatch.setenv("TERMINATION_LOG", str(tmp_path / "message"))
    monkeypatch.setattr(program, "publish", broken)
    monkeypatch.setattr(program, "log_to", lambda _: None)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    task_file = write_task(tmp_path / "task", task((tmp_path / "results").as_uri()))
    given = ["--task", str(task_file), "--volume", str(root), "--attempt", "1", "--scope", "all"]
    assert program.main(given) == code
    message = (tmp_path / "message").read_text()
    assert message.split(":")[0] == reason
    assert "hunter2" not in message
    assert (reason in FINAL_REASONS) is (code == 62)


@pytest.mark.parametrize(
    ("results", "said"),
    [("ftp://x/y", "must begin with"), ("", "RESULTS_URL is not set"), ("file:relative", "absolute")],
)
def test_a_storage_that_is_not_configured_fails_with_a_message(tmp_path: Path, results: str, said: str) -> None:
    code, message, _ = run(volume(tmp_path / "v"), task(results))
    assert code == 62
    assert message.startswith("ResultUploadFailed: ")
    assert said in message


def test_credentials_are_read_from_files(tmp_path: Path, bucket: Any) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    for name, value in bucket.variables.items():
        (secret / name).write_text(f"{value}\n")
    code, _, _ = run(volume(tmp_path / "v"), task("s3://results/p"), SLUICE_CREDENTIALS=str(secret))
    assert code == 0
    assert open_url("s3://results/p", bucket.variables).manifest(W, 1) is not None


def test_outputs_are_encrypted_to_the_given_key_but_logs_are_not(tmp_path: Path) -> None:
    identity = pyrage.x25519.Identity.generate()  # type: ignore[attr-defined]
    content = os.urandom(3 * MIB + 17)
    root = volume(tmp_path / "v", {"model.pkl": content, "empty": b""})
    code, _, _ = run(root, task((tmp_path / "results").as_uri(), public_key=str(identity.to_public())))
    storage = FileStorage(tmp_path / "results")
    manifest = storage.manifest(W, 1)
    assert code == 0
    assert manifest is not None
    assert [file.filename for file in manifest.files] == ["empty.age", "model.pkl.age", "algorithm.log"]
    stored = [b"".join(storage.open(file).chunks) for file in manifest.files]
    assert [len(one) for one in stored] == [file.size for file in manifest.files]
    decrypt = pyrage.decrypt  # type: ignore[attr-defined]
    assert [decrypt(one, [identity]) for one in stored[:2]] == [b"", content]
    assert stored[2] == b"trained\n"


@pytest.mark.timeout(600)
@pytest.mark.parametrize("encrypted", [False, True], ids=["plain", "encrypted"])
def test_a_large_output_needs_little_memory(tmp_path: Path, bucket: Any, encrypted: bool) -> None:
    size = 2048 * MIB if LONG else 144 * MIB  # more than the limit below
    root = volume(tmp_path / "v", {})
    with (root / "outputs" / "large").open("wb") as file:
        file.truncate(size)  # a hole: costs the test no disk
    key = str(pyrage.x25519.Identity.generate().to_public()) if encrypted else None  # type: ignore[attr-defined]
    code, message, memory = run(root, task("s3://results/p", public_key=key), **bucket.variables)
    assert code == 0, message
    assert memory < 128 * MIB
    manifest = open_url("s3://results/p", bucket.variables).manifest(W, 1)
    assert manifest is not None
    assert manifest.files[0].size >= size


@pytest.mark.timeout(600)
def test_many_files_need_little_memory(tmp_path: Path) -> None:
    count = 100_000 if LONG else 2_000
    root = volume(tmp_path / "v", {})
    for n in range(count):
        folder = root / "outputs" / f"{n // 1000:03}"
        folder.mkdir(exist_ok=True)
        (folder / f"{n:06}").write_bytes(b"%d" % n)
    code, message, memory = run(root, task((tmp_path / "results").as_uri()))
    assert (code, message) == (0, f"Published: files: {count + 1}")
    assert memory < 128 * MIB
    manifest = FileStorage(tmp_path / "results").manifest(W, 1)
    assert manifest is not None
    assert len({file.path for file in manifest.files}) == count + 1


@pytest.mark.parametrize("program", ["publish", "check", "release"])
def test_a_stage_program_imports_no_heavy_library_at_its_start(program: str) -> None:
    heavy = [
        *("kubernetes", "sqlalchemy", "flask", "urllib3", "obstore", "pyrage", "rich", "argparse", "random"),
        *("dataclasses", "functions.settings", "importlib.metadata", "socket", "tarfile"),
    ]
    code = (
        "import sys; before = set(sys.modules);"  # coverage may be there
        "from functions.staging.command_line import import_msgspec; import_msgspec();"
        f"import functions.staging.{program}.program, functions.results.storage;"
        f"print([m for m in {heavy!r} if m in sys.modules.keys() - before])"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"
