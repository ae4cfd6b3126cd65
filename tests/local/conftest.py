"""Laptops, and clusters of processes with the best isolation that this machine grants."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
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
def announced() -> Announcements:
    return Announcements()


@pytest.fixture
def driver(tmp_path: Path, announced: Announcements, isolation: Isolation) -> Iterator[ProcessDriver]:
    driver = ProcessDriver(tmp_path / "cluster", announced, isolation)
    yield driver
    driver.close()


@pytest.fixture
def sandboxed(driver: ProcessDriver) -> ProcessDriver:
    if driver.isolation is not Isolation.SANDBOX:
        pytest.skip(f"this machine grants: {driver.isolation.text}")
    return driver


@pytest.fixture
def networkless(driver: ProcessDriver) -> ProcessDriver:
    if driver.isolation is Isolation.NONE:
        pytest.skip(f"this machine grants: {driver.isolation.text}")
    return driver
