"""Laptops, and clusters of processes with the best isolation that this machine grants."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.job_runner import JobRunner, interpreter_of_all
from support.laptop import Laptop
from support.processes import Announcements, ProcessDriver

from functions.local.isolation import Isolation, probe

ENVIRONMENTS = """
- id: ocean-compute
  ramGB: 0.1
  maxJobs: 4
  maxJobDuration: 60
  fetch: {schemes: [http], allowPrivateAddresses: true}
  publish: {maxLogBytes: 1000000}
- id: filtered
  filterCommand: [sh, -c, "echo looked; rm $OUTPUTS/secret; test ! -e $OUTPUTS/bad"]
"""


@pytest.fixture(scope="module")
def environments(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("environments") / "environments.yaml"
    path.write_text(ENVIRONMENTS)
    return path


@pytest.fixture(scope="module")
def laptop(tmp_path_factory: pytest.TempPathFactory, environments: Path) -> Iterator[Laptop]:
    """A laptop that the tests of a module share."""
    laptop = Laptop(tmp_path_factory.mktemp("laptop") / "sluice", f"environments={environments}")
    laptop.start()
    yield laptop
    laptop.kill_everything()


@pytest.fixture
def mortal(tmp_path: Path, environments: Path) -> Iterator[Laptop]:
    """A laptop that the test may kill."""
    laptop = Laptop(tmp_path / "sluice", f"environments={environments}")
    laptop.start()
    yield laptop
    laptop.kill_everything()


@pytest.fixture(scope="session")
def isolation() -> Isolation:
    return probe()


@pytest.fixture
def open_path(tmp_path: Path) -> Path:
    """A folder that every user can reach: where Sluice runs as root, algorithms run as another user."""
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == os.getuid() and not folder.stat().st_mode & 0o001:
            folder.chmod(0o711)
    return tmp_path


@pytest.fixture
def announced() -> Announcements:
    return Announcements()


@pytest.fixture
def driver(tmp_path: Path, announced: Announcements, isolation: Isolation) -> Iterator[ProcessDriver]:
    driver = ProcessDriver(tmp_path / "cluster", announced, isolation)
    yield driver
    driver.close()


@pytest.fixture(scope="module")
def runners() -> Iterator[Callable[[str, str], JobRunner]]:
    """Job runners by isolation and user; one of each for a module."""
    started: dict[tuple[str, str], JobRunner] = {}

    def runner(isolation: str, user: str) -> JobRunner:
        if user == "root" and os.getuid() != 0:
            pytest.skip("needs root")
        if user == "user" and os.getuid() == 0 and not interpreter_of_all():
            pytest.skip("no Python here can be started by another user")
        if (isolation, user) not in started:
            started[isolation, user] = JobRunner(isolation, user)
        granted = started[isolation, user].best_isolation
        if list(Isolation).index(Isolation(granted)) > list(Isolation).index(Isolation(isolation)):
            pytest.skip(f"this machine grants {granted} at most")
        return started[isolation, user]

    yield runner
    for each in started.values():
        each.close()
