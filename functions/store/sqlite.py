"""SQLite, for laptops and single nodes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from functions.store.pool import AGREEMENT_INDEX, IDEMPOTENCY_INDEX, in_use, outdated
from functions.store.ports import RefusedStatement, StoreUnavailable

BUSY = 30.0  # seconds that a writer waits for another one
# What passes by itself, or when somebody makes room, or the folder: the beginnings of SQLite's names.
_TRANSIENT = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_FULL", "SQLITE_IOERR", "SQLITE_CANTOPEN", "SQLITE_READONLY")
_UNIQUE = {
    "UNIQUE constraint failed: jobs.agreementid": AGREEMENT_INDEX,
    "UNIQUE constraint failed: jobs.provider, jobs.idempotency_key": IDEMPOTENCY_INDEX,
}


class Sqlite:
    """See Driver. The path follows `sqlite:///`."""

    Error: type[Exception] = sqlite3.Error
    # A transaction that took its lock later could find that what it has read is outdated, and fail or lose updates.
    transaction = "BEGIN IMMEDIATE"
    single = ""

    def __init__(self, url: str) -> None:
        self._path = url.removeprefix("sqlite:///")

    def connect(self) -> sqlite3.Connection:
        # No isolation level: with the module's own handling of transactions, concurrent updates are lost silently.
        connection = sqlite3.connect(self._path, timeout=BUSY, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA foreign_keys = ON")
        except sqlite3.Error:
            connection.close()
            raise
        return connection

    def run(
        self, connection: sqlite3.Connection, statement: str, parameters: Mapping[str, Any], opening: str = ""
    ) -> sqlite3.Cursor:
        if opening:
            connection.execute(opening)
        return connection.execute(_spelled(statement), {name: _stored(value) for name, value in parameters.items()})

    def lost(self, connection: sqlite3.Connection) -> bool:
        return False

    def roll_back(self, connection: sqlite3.Connection) -> None:
        if connection.in_transaction:
            connection.execute("ROLLBACK")

    def problem(self, error: sqlite3.Error) -> Exception:
        text = str(error)
        if text in _UNIQUE:
            return in_use(_UNIQUE[text])
        if text.startswith(("no such table", "no such column")) or "has no column named" in text:
            return outdated()
        if getattr(error, "sqlite_errorname", "").startswith(_TRANSIENT):
            return StoreUnavailable(f"the database cannot do it now ({text})")
        return RefusedStatement(text)


@lru_cache(maxsize=512)
def _spelled(statement: str) -> str:
    """As SQLite writes it. No row is locked: its transactions begin with the one lock there is."""
    return re.sub(r"%\((\w+)\)s", r":\1", re.sub(r"\s+FOR UPDATE( SKIP LOCKED)?", "", statement))


def _stored(value: Any) -> Any:
    """Times as text of one length, so that they compare as they follow each other."""
    if not isinstance(value, datetime):
        return value
    return value.astimezone(UTC).replace(tzinfo=None).isoformat(sep=" ", timespec="microseconds")
