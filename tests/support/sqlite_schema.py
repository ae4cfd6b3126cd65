"""functions/store/sqlite_schema.sql, made from the migrations: `PYTHONPATH=tests python -m support.sqlite_schema`."""

from __future__ import annotations

import re
import sqlite3
import tempfile
from contextlib import closing

from functions.store.migrate import SQLITE_SCHEMA, upgrade

_HEAD = """\
-- The schema of a new SQLite file: what the migrations make, in one script. A test compares the two.
-- Written by: PYTHONPATH=tests python -m support.sqlite_schema
"""
# Tables in the order of their creation, then indexes and triggers by name: Alembic makes some of those in any order.
_STATEMENTS = """
    SELECT sql FROM sqlite_master WHERE sql IS NOT NULL
    ORDER BY CASE type WHEN 'table' THEN 1 WHEN 'index' THEN 2 ELSE 3 END, CASE type WHEN 'table' THEN rowid END,
        tbl_name, name
"""


def render() -> str:
    """The script, from a file that the migrations made step by step."""
    with tempfile.TemporaryDirectory() as folder:
        upgrade(f"sqlite:///{folder}/new.db", "head")
        with closing(sqlite3.connect(f"{folder}/new.db")) as connection:
            made = connection.execute(_STATEMENTS).fetchall()
            (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone()
            rows = [(name, connection.execute(f"SELECT * FROM {name}").fetchone()) for name in ("tick", "log_size")]
    statements = [_plain(sql) for (sql,) in made]
    inserts = [f"INSERT INTO {name} VALUES {row};" for name, row in rows]
    inserts.append(f"INSERT INTO alembic_version VALUES ('{revision}');")
    return _HEAD + "\n".join([*statements, *inserts]) + "\n"


def _plain(statement: str) -> str:
    """One column or constraint a line, without quotes around names."""
    statement = re.sub(r"\s*\n, ", ",\n\t", statement)  # columns that were added later
    lines = [line.rstrip() for line in statement.replace('"', "").replace("\t", "    ").splitlines()]
    return re.sub(r"([^(\s])\)$", r"\1\n)", "\n".join(lines)) + ";" if len(lines) > 1 else f"{lines[0]};"


if __name__ == "__main__":
    SQLITE_SCHEMA.write_text(render(), encoding="utf-8")
