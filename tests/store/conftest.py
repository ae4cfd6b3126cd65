"""Databases that an operator-service left."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from support.postgres import run_script

from functions.store.migrate import migrate
from functions.store.sql import SqlStore

RECORDED = Path(__file__).parents[1] / "data" / "operator-service-database.sql"


@pytest.fixture
def old_url(empty_postgres_url: str) -> str:
    """A database as a running operator-service left it."""
    run_script(empty_postgres_url, RECORDED.read_text())
    return empty_postgres_url


@pytest.fixture
def old_store(old_url: str) -> Iterator[SqlStore]:
    """The same, upgraded in place."""
    migrate(old_url)
    with closing(SqlStore(old_url)) as store:
        yield store
