"""Postgres through psycopg2."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, parse_dsn

from functions.store.pool import AGREEMENT_INDEX, IDEMPOTENCY_INDEX, in_use, outdated
from functions.store.ports import RefusedStatement, StoreUnavailable

# Seconds. A transaction may wait for the cluster between two statements, hence the long idle limit.
CONNECT, LOCK, STATEMENT, IDLE = 5, 5, 15, 60
# Limits travel with a transaction's first statement, and so does its BEGIN: by themselves they would cost a round trip
# each, and as options of the connection they would not pass a pgbouncer in transaction mode.
LIMITS = (
    f"SET LOCAL lock_timeout = '{LOCK}s'; SET LOCAL statement_timeout = '{STATEMENT}s'; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE}s'; "
)
_DEFAULTS: Mapping[str, Any] = {
    "connect_timeout": CONNECT,
    # A server that vanished is noticed in a minute, not in two hours; in 20 s (ms here) by who waits for its answer.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "client_encoding": "UTF8",  # whatever an old database is in
    "application_name": "sluice",
}
# What passes by itself, or with another server: SQLSTATE classes and codes.
_TRANSIENT = ("08", "40", "53", "57", "25006", "25P02", "25P03", "55P03")
_OUTDATED = ("42P01", "42703")  # undefined table, column


class Postgres:
    """See Driver. `url` is libpq's, with or without SQLAlchemy's `+psycopg2`."""

    Error: type[Exception] = psycopg2.Error

    def __init__(self, url: str) -> None:
        try:
            given = parse_dsn(url.replace("+psycopg2:", ":", 1))
        except psycopg2.ProgrammingError:  # quotes the URL, with its password
            raise StoreUnavailable("DATABASE_URL is not a URL that libpq understands") from None
        self._parameters = {**_DEFAULTS, **given}
        self.transaction = f"BEGIN; {LIMITS}"
        self.single = LIMITS

    def connect(self) -> Any:
        connection: Any = psycopg2.connect(**self._parameters)
        connection.autocommit = True  # we say BEGIN ourselves
        return connection

    def run(self, connection: Any, statement: str, parameters: Mapping[str, Any], opening: str = "") -> Any:
        cursor = connection.cursor()
        cursor.execute(opening + statement, {name: _sent(value) for name, value in parameters.items()})
        return cursor

    def lost(self, connection: Any) -> bool:
        return bool(connection.closed)

    def roll_back(self, connection: Any) -> None:
        if connection.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            connection.cursor().execute("ROLLBACK")

    def problem(self, error: psycopg2.Error) -> Exception:
        state = error.pgcode or ""
        if state == "23505" and error.diag.constraint_name in (AGREEMENT_INDEX, IDEMPOTENCY_INDEX):
            return in_use(error.diag.constraint_name)
        if state in _OUTDATED:
            return outdated()
        if state.startswith(_TRANSIENT):
            return StoreUnavailable(f"the database cannot do it now (SQLSTATE {state})")
        if not state and isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
            return StoreUnavailable("the database cannot be reached, or refuses the user")
        text = str(error).splitlines()  # further lines quote the failing row
        return RefusedStatement(f"{text[0] if text else type(error).__name__} (SQLSTATE {state or 'unknown'})")


def _sent(value: Any) -> Any:
    """Times are stored without a zone, in UTC, as operator-service stores them."""
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
