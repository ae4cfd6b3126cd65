"""The files around the code: CI tests the supported Pythons, and the documents name targets that exist."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.utils import canonicalize_name
from support.deployment import ROOT
from support.offline_pip import closure

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_ci_tests_every_python_that_the_package_supports() -> None:
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    prefix = "Programming Language :: Python :: "
    supported = [name.removeprefix(prefix) for name in PROJECT["classifiers"] if name.startswith(prefix)]
    assert workflow["jobs"]["check"]["strategy"]["matrix"]["python"] == supported
    assert "make check" in [step.get("run") for step in workflow["jobs"]["check"]["steps"]]


def test_make_lists_every_target_with_its_purpose() -> None:
    listed = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    targets = re.findall(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[0].split()
    assert re.findall(r"^  make ([a-z-]+) {2,}\w", listed, re.MULTILINE) == targets


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/deploy.md", "Makefile"])
def test_every_make_target_that_a_document_names_exists(document: str) -> None:
    targets = set(re.findall(r"^([\w./-]+):(?!=)", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^    |`)make ([a-z.][\w./-]*)", (ROOT / document).read_text(), re.MULTILINE))
    assert named <= targets


@pytest.mark.parametrize("form", sorted((ROOT / ".github").rglob("*.yml")), ids=lambda path: path.name)
def test_every_file_for_github_is_valid_yaml(form: Path) -> None:
    assert yaml.safe_load(form.read_text())


def test_everything_that_is_installed_is_pinned() -> None:
    wanted = [
        *PROJECT["dependencies"],
        *(each for extra in PROJECT["optional-dependencies"].values() for each in extra),
    ]
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pinned = {line.partition("==")[0] for line in lines if "==" in line}
    assert {canonicalize_name(name) for name in closure(wanted)} <= {canonicalize_name(name) for name in pinned}


@pytest.mark.xdist_group("kept together")
def test_groups_of_tests_are_kept_together(request: pytest.FixtureRequest) -> None:
    """What a group shares, such as the image, is made once then."""
    if request.config.getoption("loadgroup", False):
        assert request.node.nodeid.endswith("@kept together")
