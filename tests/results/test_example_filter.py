"""The filter in `examples/filter`, run as a program on a volume."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.publishing import volume

FILTER = Path(__file__).parents[2] / "examples" / "filter" / "filter.py"


def run(root: Path, **environ: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, str(FILTER)], env={"VOLUME": str(root), **environ}, capture_output=True, text=True, check=False
    )
    assert not done.stderr
    return done.returncode, done.stdout


def left(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file() or path.is_symlink())


def test_outputs_within_the_limits_pass_unchanged(tmp_path: Path) -> None:
    root = volume(tmp_path / "v", {"a.csv": b"1", "plots/b.PNG": b"22"})
    before = left(root)
    assert run(root) == (0, "passed: 2 files, 3 bytes\n")
    assert left(root) == before


def test_other_types_and_links_are_deleted_and_named(tmp_path: Path) -> None:
    root = volume(tmp_path / "v", {"a.csv": b"1", "deep/raw.parquet": b"2"})
    (root / "outputs" / "link.csv").symlink_to("/etc/passwd")
    (root / "outputs" / "folder.csv").symlink_to("/etc")
    code, printed = run(root)
    assert code == 0
    assert left(root) == ["adminlogs/configure.log", "logs/algorithm.log", "outputs/a.csv"]
    assert printed.count("deleted") == 3
    assert Path("/etc/passwd").exists()


@pytest.mark.parametrize("limit", [{"FILTER_MAX_FILES": "1"}, {"FILTER_MAX_BYTES": "2"}])
def test_outputs_above_the_limits_are_refused(tmp_path: Path, limit: dict[str, str]) -> None:
    code, printed = run(volume(tmp_path / "v", {"a.csv": b"1", "b.csv": b"22"}), **limit)
    assert code == 1
    assert printed.startswith("refused: 2 files, 3 bytes; at most ")
