"""The wheel, installed into an empty virtual environment: it carries all it needs, runs a workflow and serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
import urllib.request
import venv
import zipfile
from pathlib import Path

import pytest
from support.deployment import ROOT


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def programs(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The `bin` folder of a virtual environment with the wheel in it, and its dependencies from this one."""
    folder = tmp_path_factory.mktemp("venv")
    venv.create(folder)
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin/python"), "--quiet"]
    subprocess.run([*pip, "install", "--no-deps", "--no-index", str(wheel)], check=True, timeout=60)
    # A path in a .pth file adds the packages, but not the .pth of the editable installation among them.
    (packages,) = folder.glob("lib/python*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


def test_the_wheel_holds_the_package_and_the_manifests_of_the_base(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    files = (file for file in (ROOT / "functions").rglob("*") if file.is_file() and "__pycache__" not in file.parts)
    package = {str(file.relative_to(ROOT)) for file in files}
    manifests = {f"functions/local/manifests/{file.name}" for file in (ROOT / "knative/base").glob("*.yaml")}
    assert package <= names
    assert {name for name in names if "/manifests/" in name} == manifests
    assert {name.split("/")[0].split("-")[0] for name in names} == {"functions", "sluice_c2d"}


def test_the_installed_program_runs_a_workflow(programs: Path, tmp_path: Path) -> None:
    document = ROOT / "examples/penguins/workflow.json"
    command = [str(programs / "sluice"), "run", str(document), "--out", str(tmp_path / "out"), "--json"]
    done = subprocess.run(command, cwd=tmp_path, env=environ(programs), capture_output=True, text=True, timeout=90)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "out/statistics.json").is_file()


def test_the_installed_program_serves(programs: Path, tmp_path: Path) -> None:
    command = [str(programs / "sluice"), "up", "--port", "0"]
    server = subprocess.Popen(command, cwd=tmp_path, env=environ(programs), stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        url = server.stdout.readline().split()[-1]
        with urllib.request.urlopen(f"{url}/api/v1/operator/environments", timeout=30) as answer:
            assert [each["id"] for each in json.load(answer)] == ["ocean-compute"]
        with urllib.request.urlopen(f"{url}/console/app.js", timeout=30) as answer:
            assert answer.headers["Content-Type"].startswith("text/javascript")
    finally:
        server.terminate()
        server.communicate(timeout=30)


def environ(programs: Path) -> dict[str, str]:
    """What a user's shell has; the programs of the checkout are not on its PATH."""
    return {"PATH": f"{programs}:/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), "PYTHONUNBUFFERED": "1"}
