from __future__ import annotations

import os

import pytest
from support.api import Api, app


@pytest.fixture
def api() -> Api:
    return Api(app())


@pytest.fixture
def rounds() -> int:
    """A quarter of the mixed requests; the long profile sends 2 000."""
    return 500 if os.environ.get("SLUICE_LONG") else 40
