"""The version stands in pyproject.toml; image tags follow it, and `make release` carries it everywhere."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from support.deployment import ROOT

import functions

TAG = re.compile(r"sluice:(\d[\w.-]*)|newTag: (\S+)")


pytestmark = pytest.mark.xdist_group("release")  # one repository for all


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A git repository of its own with the files that a release changes or builds from."""
    folder = tmp_path_factory.mktemp("release")
    for name in ("functions", "knative", "k8s_install", "docs", "tools", "tests/api/golden"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in (
        "pyproject.toml",
        "constraints.txt",
        "Dockerfile",
        "README.md",
        "CHANGELOG.md",
        "LICENSE",
        ".gitignore",
    ):
        shutil.copy(ROOT / name, folder)
    for command in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "start"], ["branch", "start"]):
        git(folder, *command)
    return folder


@pytest.fixture
def clone(repository: Path) -> Path:
    """The repository as it was at the start, without a tag."""
    git(repository, "reset", "-q", "--hard", "start")
    for tag in git(repository, "tag").split():
        git(repository, "tag", "-d", tag)
    return repository


def git(folder: Path, *words: str) -> str:
    identity = ("-c", "user.name=Test", "-c", "user.email=test@example.com")
    done = subprocess.run(["git", *identity, *words], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def release(folder: Path, version: str) -> subprocess.CompletedProcess[str]:
    names = {f"GIT_{role}_{part}": "test@example.com" for role in ("AUTHOR", "COMMITTER") for part in ("NAME", "EMAIL")}
    environ = {**os.environ, **names, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [str(folder / "tools/release"), version]
    return subprocess.run(command, cwd=folder, env=environ, capture_output=True, text=True, timeout=90)


def version(folder: Path) -> str:
    found: str = tomllib.loads((folder / "pyproject.toml").read_text())["project"]["version"]
    return found


def tags(folder: Path) -> dict[str, set[str]]:
    """The image tags of Sluice that manifests and documents name, by file."""
    documents = [
        folder / "README.md",
        folder / "Dockerfile",
        *folder.glob("docs/*.md"),
        *folder.glob("k8s_install/*.*"),
    ]
    named = {file: TAG.findall(file.read_text()) for file in (*documents, *folder.glob("knative/**/*.yaml"))}
    return {
        str(f.relative_to(folder)): {(a or b).removesuffix("-migrate").removesuffix("-otel") for a, b in found}
        for f, found in named.items()
        if found
    }


def test_the_package_has_the_version_of_the_project() -> None:
    assert functions.__version__ == version(ROOT)


def test_every_image_tag_is_the_version() -> None:
    found = tags(ROOT)
    assert {"README.md", "docs/deploy.md", "k8s_install/migrate.yml", "knative/base/settings.yaml"} <= found.keys()
    assert {name: each for name, each in found.items() if each != {version(ROOT)}} == {}


def test_a_release_bumps_dates_builds_commits_and_tags(clone: Path) -> None:
    before = git(clone, "rev-parse", "HEAD")
    done = release(clone, "minor")
    assert done.returncode == 0, done.stderr
    new = version(clone)
    assert new != version(ROOT)
    assert {name: each for name, each in tags(clone).items() if each != {new}} == {}
    assert (clone / "functions/__init__.py").read_text() == f'__version__ = "{new}"\n'
    assert re.search(
        rf"^## \[Unreleased\]\n\n## \[{re.escape(new)}\] - \d{{4}}-\d\d-\d\d$", changelog(clone), re.MULTILINE
    )
    assert {file.name for file in (clone / "dist").iterdir()} == {
        f"sluice_c2d-{new}-py3-none-any.whl",
        f"sluice_c2d-{new}.tar.gz",
    }
    assert git(clone, "rev-list", f"{before}..v{new}") == git(clone, "rev-parse", "HEAD")
    assert git(clone, "status", "--porcelain") == ""


def changelog(folder: Path) -> str:
    return (folder / "CHANGELOG.md").read_text()


@pytest.mark.parametrize("word", ["", "huge", "1.2", "v1.2.3"])
def test_a_release_needs_a_version(clone: Path, word: str) -> None:
    refused(clone, word, "say which version")


def test_a_release_of_the_current_version_is_refused(clone: Path) -> None:
    refused(clone, version(clone), "is the current version already")


def test_a_release_of_uncommitted_work_is_refused(clone: Path) -> None:
    (clone / "README.md").write_text("changed")
    refused(clone, "patch", "the work tree has changes")


def test_a_release_without_a_changelog_is_refused(clone: Path) -> None:
    (clone / "CHANGELOG.md").write_text("# Changelog\n\n## [Unreleased]\n")
    git(clone, "commit", "-qam", "nothing to tell")
    refused(clone, "patch", "lists nothing under [Unreleased]")


def refused(clone: Path, word: str, reason: str) -> None:
    before = git(clone, "rev-parse", "HEAD")
    done = release(clone, word)
    assert done.returncode == 1
    assert reason in done.stderr
    assert git(clone, "rev-parse", "HEAD") == before
    assert git(clone, "tag") == ""
