"""The connection pool and its transactions. SQL goes to the driver as it is written.

No SQL library stands between: importing one would double the start of a function that sleeps at zero
(docs/performance.md). What differs between the databases is in `postgres` and `sqlite`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Any

from functions.store.driver import Driver, Row, Statement
from functions.store.ports import RefusedStatement, StoreUnavailable

POOL_TIMEOUT = 5.0  # seconds that a thread waits for a free connection
_NO_PARAMETERS: Mapping[str, Any] = {}
_COMMIT: Statement = ("COMMIT", _NO_PARAMETERS)


class Session:
    """One transaction on one connection."""

    def __init__(self, driver: Driver, opening: str, idle: Any | None) -> None:
        """`opening`: SQL that precedes the first statement. `idle`: a pooled connection; None opens a new one."""
        self._driver = driver
        self._opening = opening
        self._may_be_stale = idle is not None
        self._begun = self._failed = False
        self._queued: list[Statement] = []  # sent with the next statement
        self.connection = driver.connect() if idle is None else idle

    def execute(self, statement: str, parameters: Mapping[str, Any] = _NO_PARAMETERS) -> list[Row]:
        """Run one statement and return its rows."""
        cursor = self._send((statement, parameters))
        if cursor.description is None:
            return []
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def write(self, statement: str, parameters: Mapping[str, Any] = _NO_PARAMETERS) -> None:
        """Queue a statement whose rows nobody reads. It is sent with the next `execute` or with COMMIT.

        This saves a round trip. If the statement fails, that later call raises the error. Nothing after the statement
        is run then, not even COMMIT.
        """
        self._queued.append((statement, parameters))

    def commit(self) -> None:
        """Commit. Raises RefusedStatement after a failed statement: Postgres would roll back and report success."""
        if self._failed:
            raise RefusedStatement("a transaction in which a statement failed cannot be committed")
        if self._queued and not self._begun:
            # The first message may be sent twice. COMMIT must not be in it: it may have run although no answer came.
            self._send(self._queued.pop())
        if self._begun:
            self._send(_COMMIT)

    def roll_back(self) -> bool:
        """Roll back. Returns whether the connection can be used again."""
        try:
            self._driver.roll_back(self.connection)
        except self._driver.Error:
            return False
        return not self._driver.is_closed(self.connection)

    def _send(self, last: Statement) -> Any:
        """Run the queued statements, then `last`. Returns its cursor."""
        statements, self._queued = [*self._queued, last], []
        try:
            return self._run(statements) if self._begun else self._begin(statements)
        except BaseException:  # any error, such as a value that the driver cannot send: the queued statements are lost
            self._failed = True
            raise

    def _begin(self, statements: Sequence[Statement]) -> Any:
        """Run the first statements. Replace a pooled connection that turns out to be closed.

        Retrying once is safe, because nothing was committed on the connection yet. It saves a ping before each
        transaction.
        """
        self._begun = True
        try:
            return self._run(statements, self._opening)
        except self._driver.Error:
            if not self._may_be_stale or not self._driver.is_closed(self.connection):
                raise
        self.connection = self._driver.connect()
        return self._run(statements, self._opening)

    def _run(self, statements: Sequence[Statement], opening: str = "") -> Any:
        return self._driver.run(self.connection, statements, opening)


class ConnectionPool:
    """At most `size` connections. Each is opened when it is first needed."""

    def __init__(self, driver: Driver, size: int) -> None:
        self.driver = driver
        self._permits = BoundedSemaphore(size)
        self._idle: deque[Any] = deque()
        self._closed = False

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Open a transaction: commit when it is left, roll back on an exception.

        Raises StoreUnavailable, AgreementInUse and RefusedStatement.
        """
        with self._session(self.driver.transaction) as session:
            yield session
            session.commit()

    def read(self, statement: str, parameters: Mapping[str, Any] = _NO_PARAMETERS) -> list[Row]:
        """Run one statement as a transaction of its own and return its rows. Raises as `transaction`."""
        with self._session(self.driver.single) as session:
            return session.execute(statement, parameters)

    def close(self) -> None:
        """Close the idle connections now, and those in use when they are released."""
        self._closed = True
        while (connection := self._take_idle()) is not None:
            connection.close()

    @contextmanager
    def _session(self, opening: str) -> Iterator[Session]:
        if not self._permits.acquire(timeout=POOL_TIMEOUT):
            raise StoreUnavailable(f"no database connection became free within {POOL_TIMEOUT:g} s")
        session = None
        try:
            session = Session(self.driver, opening, self._take_idle())
            yield session
            self._release(session.connection, usable=True)
        except BaseException as e:
            problem = self.driver.translate(e) if isinstance(e, self.driver.Error) else e
            if session is not None:
                # After StoreUnavailable, a new connection may reach another server, one that accepts writes.
                usable = session.roll_back() and not isinstance(problem, StoreUnavailable)
                self._release(session.connection, usable=usable)
            if problem is e:
                raise
            raise problem from None  # the cause quotes statements and addresses
        finally:
            self._permits.release()

    def _release(self, connection: Any, *, usable: bool) -> None:
        if usable and not self._closed:
            self._idle.append(connection)
        else:
            connection.close()

    def _take_idle(self) -> Any | None:
        """The connection that was used last. It is the least likely to be stale, and the fewest stay open."""
        try:
            return self._idle.pop()
        except IndexError:
            return None


def any_of(ids: Sequence[str]) -> tuple[str, Mapping[str, Any]]:
    """Return the placeholders for an IN list, and their parameters."""
    parameters = {f"id_{n}": id for n, id in enumerate(ids)}
    return ", ".join(f"%({name})s" for name in parameters), parameters


def open_pool(url: str, size: int) -> ConnectionPool:
    """The pool for `sqlite:///path` or a Postgres URL. Imports only the driver that the URL names."""
    if url.startswith("sqlite:"):
        from functions.store.sqlite import Sqlite

        return ConnectionPool(Sqlite(url), size)
    from functions.store.postgres import Postgres

    return ConnectionPool(Postgres(url), size)
