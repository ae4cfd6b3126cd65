"""The documentation's site is strict: it builds only if every link leads somewhere."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from support.deployment import ROOT

PAGE = "# Page\n\n## A heading\n\nText.\n"


def build(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    """Build a site of two pages with the project's configuration and the command of the Makefile."""
    (folder / "docs").mkdir()
    shutil.copy(ROOT / "docs/conf.py", folder / "docs")
    shutil.copytree(ROOT / "docs/_templates", folder / "docs/_templates")
    (folder / "docs/page.md").write_text(PAGE)
    (folder / "docs/index.md").write_text(f"# Site\n\n{text}\n\n```{{toctree}}\npage\n```\n")
    (line,) = [line for line in (ROOT / "Makefile").read_text().splitlines() if "-m sphinx" in line]
    words = line.partition("-m sphinx ")[2].partition(" &&")[0].split()
    command = [sys.executable, "-m", "sphinx", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)


def test_a_good_link_builds_the_site(tmp_path: Path) -> None:
    done = build(tmp_path, "See [the heading](page.md#a-heading).")
    assert done.returncode == 0, done.stderr
    assert "docs/index.html" in (tmp_path / "build/docs/index.html").read_text()
    assert (tmp_path / "build/docs/searchindex.js").is_file()


def test_a_broken_link_fails_the_build(tmp_path: Path) -> None:
    broken = ["nowhere.md", "page.md#no-such-heading", "../no/such/file.yaml"]
    done = build(tmp_path, "\n\n".join(f"See [this]({link})." for link in broken))
    assert done.returncode != 0
    assert [f"docs/index.md:{line}: WARNING" in done.stderr for line in (3, 5, 7)] == [True] * 3
