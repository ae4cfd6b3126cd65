"""The driver for Postgres, through psycopg2."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg2
from psycopg2.extensions import TRANSACTION_STATUS_IDLE, parse_dsn

from functions.store.driver import AGREEMENT_INDEX, IDEMPOTENCY_INDEX, Statement, agreement_in_use, schema_outdated
from functions.store.ports import RefusedStatement, StoreUnavailable
from functions.trust.canonical import storable

# Seconds. A transaction may wait for the cluster between two statements, hence the long idle timeout.
CONNECT_TIMEOUT, LOCK_TIMEOUT, STATEMENT_TIMEOUT, IDLE_TIMEOUT = 5, 5, 15, 60
# The timeouts and BEGIN are sent together with a transaction's first statement: each would cost a round trip of its
# own. As options of the connection they would not pass through a pgbouncer in transaction mode.
TIMEOUTS = (
    f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}s'; SET LOCAL statement_timeout = '{STATEMENT_TIMEOUT}s'; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}s'; "
)
_DEFAULTS: Mapping[str, Any] = {
    "connect_timeout": CONNECT_TIMEOUT,
    # An idle connection notices within a minute that its server is gone, a query within 20 s (milliseconds here).
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "client_encoding": "UTF8",  # whatever encoding an old database has
    "application_name": "sluice",
}
# SQLSTATE classes and codes of errors that pass with time, or on another server.
_TRANSIENT = ("08", "40", "53", "57", "25006", "25P02", "25P03", "55P03")
_SCHEMA_OUTDATED = ("42P01", "42703")  # undefined table, undefined column


class Postgres:
    """See Driver. `url` is one of libpq's, with or without SQLAlchemy's `+psycopg2`."""

    Error: type[Exception] = psycopg2.Error

    def __init__(self, url: str) -> None:
        try:
            given = parse_dsn(url.replace("+psycopg2:", ":", 1))
        except psycopg2.ProgrammingError:  # its text quotes the URL, password included
            raise StoreUnavailable("DATABASE_URL is not a URL that libpq understands") from None
        self._parameters = {**_DEFAULTS, **given}
        self.transaction = f"BEGIN; {TIMEOUTS}"
        self.single = TIMEOUTS

    def connect(self) -> Any:
        connection: Any = psycopg2.connect(**self._parameters)
        connection.autocommit = True  # we send BEGIN ourselves
        return connection

    def run(self, connection: Any, statements: Sequence[Statement], opening: str = "") -> Any:
        cursor = connection.cursor()
        bound = (cursor.mogrify(statement, _all_stored(parameters)) for statement, parameters in statements)
        cursor.execute(opening.encode() + b"; ".join(bound))
        return cursor

    def is_closed(self, connection: Any) -> bool:
        return bool(connection.closed)

    def roll_back(self, connection: Any) -> None:
        if connection.get_transaction_status() != TRANSACTION_STATUS_IDLE:
            connection.cursor().execute("ROLLBACK")

    def translate(self, error: psycopg2.Error) -> Exception:
        state = error.pgcode or ""
        if state == "23505" and error.diag.constraint_name in (AGREEMENT_INDEX, IDEMPOTENCY_INDEX):
            return agreement_in_use(error.diag.constraint_name)
        if state in _SCHEMA_OUTDATED:
            return schema_outdated()
        if state.startswith(_TRANSIENT):
            return StoreUnavailable(f"the database cannot do it now (SQLSTATE {state})")
        if not state and isinstance(error, psycopg2.OperationalError | psycopg2.InterfaceError):
            return StoreUnavailable("the database cannot be reached, or it refuses the user")
        lines = str(error).splitlines()  # lines after the first quote the failing row
        return RefusedStatement(f"{lines[0] if lines else type(error).__name__} (SQLSTATE {state or 'unknown'})")


def _all_stored(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    return {name: _stored(value) for name, value in parameters.items()}


def _stored(value: Any) -> Any:
    """The value as it is stored: times in UTC without a zone, as operator-service stores them."""
    if isinstance(value, str):
        return storable(value)
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value
