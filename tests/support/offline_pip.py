"""As much of pip as the Dockerfile uses, without a network: packages are copied from the environment that runs this."""

from __future__ import annotations

import argparse
import importlib.metadata
import shutil
import subprocess
import sys
from pathlib import Path

from packaging.requirements import Requirement


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--python")
    parser.add_argument("command", choices=["install"])
    for flag in ("--no-cache-dir", "--no-compile", "--no-deps"):
        parser.add_argument(flag, action="store_true")
    parser.add_argument("-r", "--requirement", type=Path)
    parser.add_argument("-c", "--constraint", type=Path)
    parser.add_argument("--target", type=Path)
    parser.add_argument("project", nargs="?")
    given = parser.parse_intermixed_args()
    if given.requirement:
        (packages,) = Path(given.python).parents[1].glob("lib/python*/site-packages")
        for name in closure(given.requirement.read_text().split("\n")):
            if not any(importlib.metadata.distributions(name=name, path=[str(packages)])):
                copy(name, packages)
    else:
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-build-isolation"]
        subprocess.run([*pip, "--no-compile", "--no-deps", "--target", str(given.target), given.project], check=True)


def closure(requirements: list[str]) -> set[str]:
    """The names of the distributions that the requirements need, with those that these need in turn."""
    waiting = [Requirement(text) for text in requirements if text]
    seen: set[str] = set()
    while waiting:
        requirement = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        if requirement.name not in seen:
            seen.add(requirement.name)
            waiting += map(Requirement, importlib.metadata.requires(requirement.name) or [])
    return seen


def copy(name: str, packages: Path) -> None:
    """Copy the files of a distribution, but for bytecode; its programs get the Python of their new environment."""
    programs = packages.parents[2] / "bin"
    for file in importlib.metadata.files(name) or []:
        source, target = Path(str(file.locate())), packages / file
        if file.suffix == ".pyc":
            continue
        if ".." in file.parts and file.parent.name == "bin":
            _, _, rest = source.read_text().partition("\n")
            target = programs / file.name
            target.write_text(f"#!{programs}/python\n{rest}")
            target.chmod(0o755)
        elif ".." not in file.parts:
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(source, target)


if __name__ == "__main__":
    main()
