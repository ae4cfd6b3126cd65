"""The driver for SQLite, for laptops and single nodes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from functions.store.driver import AGREEMENT_INDEX, IDEMPOTENCY_INDEX, Statement, agreement_in_use, schema_outdated
from functions.store.ports import RefusedStatement, StoreUnavailable
from functions.trust.canonical import storable

BUSY_TIMEOUT = 30.0  # seconds that a writer waits for another one
_UNSYNCED = "?synchronous=off"
# Prefixes of SQLite's names for errors that pass with time, or when somebody frees disk space or repairs the folder.
_TRANSIENT = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")
_INDEX_OF = {
    "UNIQUE constraint failed: jobs.agreement_key": AGREEMENT_INDEX,
    "UNIQUE constraint failed: jobs.provider, jobs.idempotency_key": IDEMPOTENCY_INDEX,
}


class Sqlite:
    """See Driver. The path of the file follows `sqlite:///`.

    With `?synchronous=off` at its end nothing waits for the disk: a power failure may damage the file.
    """

    Error: type[Exception] = sqlite3.Error
    # IMMEDIATE takes the write lock at once. Taking it later could fail, because what was read has changed meanwhile.
    transaction = "BEGIN IMMEDIATE"
    single = ""

    def __init__(self, url: str) -> None:
        self._path = url.removeprefix("sqlite:///").removesuffix(_UNSYNCED)
        self._synced = not url.endswith(_UNSYNCED)

    def connect(self) -> sqlite3.Connection:
        # Without isolation_level=None the module opens transactions of its own, and concurrent updates are lost.
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA foreign_keys = ON")
            if not self._synced:
                connection.execute("PRAGMA synchronous = OFF")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def run(self, connection: sqlite3.Connection, statements: Sequence[Statement], opening: str = "") -> sqlite3.Cursor:
        cursor = connection.cursor()
        if opening:
            cursor.execute(opening)
        for statement, parameters in statements:
            cursor.execute(_dialect(statement), {name: _stored(value) for name, value in parameters.items()})
        return cursor

    def is_closed(self, connection: sqlite3.Connection) -> bool:
        return False

    def roll_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def translate(self, error: sqlite3.Error) -> Exception:
        text = str(error)
        if text in _INDEX_OF:
            return agreement_in_use(_INDEX_OF[text])
        if text.startswith(("no such table", "no such column")) or "has no column named" in text:
            return schema_outdated()
        if getattr(error, "sqlite_errorname", "").startswith(_TRANSIENT):
            return StoreUnavailable(f"the database cannot do it now ({text})")
        return RefusedStatement(text)


@lru_cache(maxsize=512)
def _dialect(statement: str) -> str:
    """The statement in SQLite's syntax, without row locks: a transaction holds the only write lock there is."""
    statement = statement.replace("octet_length(", "length(")  # only newer versions have it
    return re.sub(r"%\((\w+)\)s", r":\1", re.sub(r"\s+FOR (UPDATE|SHARE)( SKIP LOCKED)?", "", statement))


def _stored(value: Any) -> Any:
    """The value as it is stored: times in UTC as texts of one length, so that they sort in their order."""
    if isinstance(value, str):
        return storable(value)
    if not isinstance(value, datetime):
        return value
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
