from __future__ import annotations

import pytest
from support.api import Api, parts


@pytest.fixture
def api() -> Api:
    return Api(parts())
