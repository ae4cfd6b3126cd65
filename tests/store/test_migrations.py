"""A database is brought up to date from nothing and, in place, from operator-service's schema."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from support.postgres import run_script, select
from support.sqlite_schema import render

from functions.store.migrate import MIGRATIONS, SQLITE_SCHEMA, migrate, upgrade
from functions.store.ports import RefusedStatement

ALL = sorted(path.stem for path in (MIGRATIONS / "versions").glob("0*.py"))


def test_an_empty_database_gets_all_migrations_once(empty_postgres_url: str, tmp_path: Path) -> None:
    for url in (empty_postgres_url, f"sqlite:///{tmp_path}/new.db"):
        assert migrate(url) == ALL
        assert migrate(url) == []


def test_an_operator_service_database_is_upgraded_once(old_url: str) -> None:
    assert migrate(old_url) == ALL
    before = _dump(old_url)
    assert migrate(old_url) == []
    assert _dump(old_url) == before


def test_an_upgraded_and_an_empty_database_get_the_same_schema(old_url: str, postgres_url: str) -> None:
    migrate(old_url)
    assert _schema(old_url) == _schema(postgres_url)


def test_a_new_sqlite_file_has_the_schema_that_the_migrations_make(tmp_path: Path) -> None:
    at_once, step_by_step = f"sqlite:///{tmp_path}/at-once.db", f"sqlite:///{tmp_path}/step-by-step.db"
    migrate(at_once)
    assert upgrade(step_by_step, "head") == ALL
    assert _sqlite_schema(at_once) == _sqlite_schema(step_by_step)
    assert upgrade(at_once, "head") == []


def test_an_sqlite_file_of_an_earlier_revision_is_brought_up_to_date(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    upgrade(url, "0001")
    assert migrate(url) == ALL[1:]


def test_the_script_for_a_new_sqlite_file_is_up_to_date() -> None:
    assert SQLITE_SCHEMA.read_text() == render(), "write it anew: PYTHONPATH=tests python -m support.sqlite_schema"


def test_a_database_of_a_newer_program_is_left_as_it_is(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert migrate(sqlite_url) == []
    assert "newer than this program" in caplog.text


def test_checking_an_up_to_date_database_imports_neither_alembic_nor_sqlalchemy(
    sqlite_url: str, postgres_url: str
) -> None:
    for url in (sqlite_url, postgres_url):
        program = (
            "import sys; from functions.store.migrate import migrate;"
            f"print(migrate({url!r}), 'alembic' in sys.modules, 'sqlalchemy' in sys.modules)"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert ended.stdout == "[] False False\n"


def test_concurrent_processes_apply_each_migration_once(old_url: str) -> None:
    program = f"from functions.store.migrate import migrate; print(*migrate({old_url!r}))"
    command = [sys.executable, "-c", program]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [run.communicate()[0].split() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert sorted(answers) == [[], [], ALL]


def test_concurrent_threads_apply_each_migration_once(empty_postgres_url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(migrate, [empty_postgres_url] * 3)) == [[], [], ALL]


def test_a_migration_that_fails_leaves_the_database_as_it_was(old_url: str) -> None:
    run_script(old_url, "INSERT INTO jobs (agreementid, workflowid) SELECT 'twice', workflowid FROM jobs LIMIT 1")
    before = _dump(old_url)
    with pytest.raises(RefusedStatement, match="ux_jobs_workflowid"):
        migrate(old_url)
    assert _dump(old_url) == before


def test_alembic_does_not_write_into_our_log(tmp_path: Path) -> None:
    program = (
        "from functions import log; from functions.store.migrate import migrate;"
        f"log.setup(); print(len(migrate('sqlite:///{tmp_path}/sluice.db')))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == (f"{len(ALL)}\n", "")


def _sqlite_schema(url: str) -> list[tuple[Any, ...]]:
    """Tables and indexes, without the spaces and quotes that SQLite keeps as they were written."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        made = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        return [(kind, name, "".join((sql or "").replace('"', "").split())) for kind, name, sql in made]


def _dump(url: str) -> list[tuple[Any, ...]]:
    tables = [name for (name,) in select(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")]
    return [(name, *row) for name in tables for row in sorted(select(url, f"SELECT * FROM {name}"), key=repr)]


def _schema(url: str) -> list[tuple[Any, ...]]:
    """Columns, indexes and constraints; the order of columns is history and means nothing."""
    columns = "table_name, column_name, data_type, character_maximum_length, is_nullable, column_default"
    return [
        *select(url, f"SELECT {columns} FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"),
        *select(url, "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"),
        *select(
            url,
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        ),
    ]
