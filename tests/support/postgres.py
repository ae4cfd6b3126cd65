"""Databases on the tests' Postgres."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any
from uuid import uuid4

TEMPLATE = "sluice_template"  # migrated once, copied for each test


@contextmanager
def fresh_database(server: str, options: str) -> Iterator[str]:
    """A database on the server, dropped at the end, whoever is still connected."""
    name = f"test_{uuid4().hex}"
    # Copying files costs less than writing every page to the log, as nothing here is synced.
    run_script(server, f"CREATE DATABASE {name} {options} STRATEGY file_copy")
    try:
        yield database(server, name)
    finally:
        run_script(server, f"DROP DATABASE {name} WITH (FORCE)")


def database(url: str, name: str) -> str:
    import sqlalchemy as sa

    address = sa.make_url(url).set(drivername="postgresql+psycopg2", database=name)
    return address.render_as_string(hide_password=False)


def connect(url: str) -> Any:
    import psycopg2

    connection: Any = psycopg2.connect(url.replace("+psycopg2", ""))
    connection.autocommit = True
    return connection


def run_script(url: str, script: str) -> None:
    """Run SQL statements. Several in one script are one transaction."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(script)


def select(url: str, query: str) -> list[tuple[Any, ...]]:
    """The rows that a query returns."""
    with closing(connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())
