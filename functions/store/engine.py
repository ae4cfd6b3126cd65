"""Connections: how SQLite and Postgres must be set up, and what their errors mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event, exc

from functions.store.ports import AgreementInUse, StoreUnavailable
from functions.store.tables import AGREEMENT_INDEX, IDEMPOTENCY_INDEX

# Seconds. A transaction may wait for the cluster between two statements, hence the long idle limit.
CONNECT, POOL, LOCK, STATEMENT, IDLE = 5, 5, 5, 15, 60
SQLITE_BUSY = 30
_LIMITS = (
    f"SET LOCAL lock_timeout = '{LOCK}s'; SET LOCAL statement_timeout = '{STATEMENT}s'; "
    f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE}s'; "
)
_POSTGRES: dict[str, Any] = {
    "connect_timeout": CONNECT,
    "keepalives_idle": 30,  # a node that vanished is noticed in a minute, not in two hours
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "application_name": "sluice",
}
# What passes by itself, or with another server: SQLSTATE classes and codes.
_TRANSIENT = ("08", "40", "53", "57", "25006", "25P02", "25P03", "55P03")
_OUTDATED = ("42P01", "42703")  # undefined table, column


def open_engine(url: str, pool_size: int, *, limits: bool = True) -> sa.Engine:
    """The engine for `url`; connects on first use. With `limits`, nothing on it waits or runs for ever."""
    address = sa.make_url(url)
    options: dict[str, Any] = {
        "pool_size": pool_size,
        "max_overflow": 0,
        "pool_timeout": POOL,
        "hide_parameters": True,  # they hold secrets and signed URLs
    }
    if address.get_backend_name() == "sqlite":
        engine = sa.create_engine(address, connect_args={"timeout": SQLITE_BUSY}, **options)
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    missing = {name: value for name, value in _POSTGRES.items() if name not in address.query}
    engine = sa.create_engine(address, connect_args=missing, pool_pre_ping=True, use_native_hstore=False, **options)
    if limits:
        event.listen(engine, "begin", _limits_due)
        event.listen(engine, "before_cursor_execute", _set_limits, retval=True)
    return engine


def reader(engine: sa.Engine) -> sa.Engine:
    """The same pool for single reads: no transaction, so neither BEGIN nor ROLLBACK, and no lock on SQLite."""
    if engine.dialect.name == "sqlite":
        return engine.execution_options(single_read=True)
    return engine.execution_options(isolation_level="AUTOCOMMIT")


def _set_up_sqlite(connection: Any, _record: object) -> None:
    """With the driver's own handling of transactions, concurrent updates are lost without an error."""
    connection.isolation_level = None
    for pragma in (f"busy_timeout = {SQLITE_BUSY * 1000}", "journal_mode = WAL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(connection: sa.Connection) -> None:
    if not connection.get_execution_options().get("single_read"):
        connection.exec_driver_sql("BEGIN IMMEDIATE")


def _limits_due(connection: sa.Connection) -> None:
    connection.info["limits due"] = True


def _set_limits(
    connection: sa.Connection, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool
) -> tuple[str, Any]:
    """Limits travel with a transaction's first statement.

    As options of the connection they would not pass a pgbouncer in transaction mode, by themselves they cost a
    round trip.
    """
    return (_LIMITS + statement if connection.info.pop("limits due", False) else statement), parameters


@contextmanager
def translated() -> Iterator[None]:
    """Errors of the database as those of the port. Causes are cut off: they quote statements and addresses."""
    try:
        yield
    except exc.TimeoutError:
        raise StoreUnavailable(f"no database connection came free within {POOL} s") from None
    except exc.DBAPIError as e:
        raise _problem(e) from None


class RefusedStatement(Exception):
    """A mistake of ours: a statement that no retry can mend. Names the rule that it breaks, never the values."""


def _problem(error: exc.DBAPIError) -> Exception:
    state = str(getattr(error.orig, "pgcode", None) or "")
    text = str(error.orig)
    if isinstance(error, exc.IntegrityError) and (taken := _taken(text)) is not None:
        return taken
    if state in _OUTDATED or text.startswith(("no such table", "no such column")):
        return StoreUnavailable("the database's schema is older than this program; run `sluice migrate`")
    if state.startswith(_TRANSIENT):
        return StoreUnavailable(f"the database cannot do it now (SQLSTATE {state})")
    if error.connection_invalidated or (not state and isinstance(error, exc.OperationalError | exc.InterfaceError)):
        locked = "locked" in text or "busy" in text
        return StoreUnavailable("the database is locked" if locked else "the database cannot be reached")
    # Postgres adds the failing row in further lines.
    return RefusedStatement(f"{text.splitlines()[0] if text else type(error).__name__} (SQLSTATE {state or 'unknown'})")


def _taken(text: str) -> AgreementInUse | None:
    """SQLite names the columns, Postgres the index."""
    if AGREEMENT_INDEX in text or text.endswith("failed: jobs.agreementid"):
        return AgreementInUse("an unfinished workflow has this agreementId already")
    if IDEMPOTENCY_INDEX in text or text.endswith("failed: jobs.provider, jobs.idempotency_key"):
        return AgreementInUse("a workflow was submitted with this idempotency key already")
    return None
