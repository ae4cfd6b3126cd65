"""A laptop with the environments of these tests, for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from support.laptop import Laptop

FILTER = Path(__file__).parents[2] / "examples" / "filter" / "filter.py"


def _filtered(program: Path, **limits: str) -> dict[str, object]:
    """An environment with the filter that is shipped, as its README shows it."""
    settings = [f"{key}={value}" for key, value in limits.items()]
    return {"id": "filtered", "filterCommand": ["env", *settings, "python3", str(program)], "fetch": _FROM_HERE}


_FROM_HERE = {"schemes": ["http", "file"], "allowPrivateAddresses": True}
ENVIRONMENTS = [
    {"id": "ocean-compute", "fetch": _FROM_HERE},
    {"id": "closed"},
    {"id": "short-lived", "storageExpiry": 1, "fetch": _FROM_HERE},
]


@pytest.fixture(scope="session")
def laptop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    folder = tmp_path_factory.mktemp("e2e")
    # Below /tmp, where algorithms see nothing of the machine: the operator's filter must be found there all the same.
    program = folder / "filter.py"
    program.write_bytes(FILTER.read_bytes())
    environments = [*ENVIRONMENTS, _filtered(program, FILTER_TYPES=".csv,.txt", FILTER_MAX_FILES="2")]
    (folder / "environments.yaml").write_text(yaml.safe_dump(environments))
    started = Laptop(folder / "sluice", f"environments={folder / 'environments.yaml'}")
    started.start()
    yield started
    started.kill_everything()
