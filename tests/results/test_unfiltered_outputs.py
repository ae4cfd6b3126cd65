"""What an operator's filter removes, changes and adds is a fact, from a list that its Pod makes before it runs."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from pathlib import Path

import pytest

from functions.cluster.kubernetes.pods import _LIST_OUTPUTS, FILTER_LOGS
from functions.staging.publish.unfiltered import facts_of
from functions.workflow.reported_facts import digest_of, line, read

SHELLS = {"dash": ["dash"], "bash": ["bash", "--posix"], "busybox": ["busybox", "sh"]}
FILES = {"a.csv": b"a", "folder/b c.csv": b"b", "kept.csv": b"k", "ä.csv": b"u"}


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    for name, content in FILES.items():
        path = tmp_path / "outputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (tmp_path / "adminlogs/filter").mkdir(parents=True)
    return tmp_path


def run(volume: Path, command: str, shell: str = "dash") -> None:
    """Run a filter's command as its Pod does."""
    text = (_LIST_OUTPUTS + command).replace(FILTER_LOGS, str(volume / "adminlogs/filter"))
    environ = {"OUTPUTS": str(volume / "outputs"), "PATH": "/usr/bin:/bin"}
    subprocess.run([*SHELLS[shell], "-c", text], env=environ, check=True, timeout=30)


@pytest.mark.parametrize("shell", SHELLS)
def test_a_filter_that_removes_changes_and_adds_files_is_recorded(volume: Path, shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell}")
    run(volume, 'cd "$OUTPUTS"; rm a.csv; echo x > "folder/b c.csv"; echo y > new.csv; echo z > new2.csv', shell)
    before = [{"path": f"outputs/{name}", "sha256": hashlib.sha256(text).hexdigest()} for name, text in FILES.items()]
    stated = {"unfiltered": digest_of(before), "removed": "1", "changed": "1", "added": "2"}
    assert facts_of(volume) == stated
    assert read("Published: files: 4" + line(stated).decode()) == stated


def test_a_filter_that_changes_nothing_is_recorded_as_such(volume: Path) -> None:
    run(volume, "true")
    assert facts_of(volume) | {"unfiltered": ""} == {"unfiltered": "", "removed": "0", "changed": "0", "added": "0"}


def test_a_file_that_became_a_link_counts_as_removed(volume: Path) -> None:
    run(volume, 'cd "$OUTPUTS"; rm a.csv; ln -s kept.csv a.csv')
    assert facts_of(volume)["removed"] == "1"


def test_a_name_that_forges_lines_of_the_list_is_left_out(volume: Path) -> None:
    forged = f"x\n{'0' * 64}  ."
    (volume / "outputs" / forged).mkdir()
    (volume / "outputs" / forged / "b.csv").write_bytes(b"1")
    (volume / "outputs" / "back\\slash").write_bytes(b"1")
    run(volume, "true")
    stated = facts_of(volume)
    assert (stated["removed"], stated["changed"], stated["added"]) == ("0", "0", "0")


@pytest.mark.parametrize("text", [None, "", "0" * 64 + "  ./a.csv\n", "\xff"])
def test_without_a_whole_list_nothing_is_stated(volume: Path, text: str | None) -> None:
    if text is not None:
        (volume / "adminlogs/filter/unfiltered.sha256").write_text(text)
    assert facts_of(volume) == {}


def test_an_output_that_cannot_be_read_leaves_the_list_unfinished(volume: Path) -> None:
    broken = _LIST_OUTPUTS.replace("sha256sum", "sha256sum-that-is-missing")
    text = (broken + "true").replace(FILTER_LOGS, str(volume / "adminlogs/filter"))
    environ = {"OUTPUTS": str(volume / "outputs"), "PATH": "/usr/bin:/bin"}
    subprocess.run(["dash", "-c", text], env=environ, check=True, timeout=30)
    assert facts_of(volume) == {}
