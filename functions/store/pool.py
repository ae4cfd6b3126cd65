"""Connections to the database: the pool, and transactions whose SQL goes to the driver as it is written.

Nothing stands between, because importing a library that does would double the start of a function that sleeps at zero
(docs/performance.md). What differs between the databases is in `postgres` and `sqlite`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import BoundedSemaphore
from typing import Any, Protocol

from functions.store.ports import AgreementInUse, RefusedStatement, StoreUnavailable

POOL = 5.0  # seconds that a thread waits for a connection
Row = Mapping[str, Any]
_NOTHING: Mapping[str, Any] = {}
# Two unique indexes whose violation is an answer, not an error.
AGREEMENT_INDEX = "ux_jobs_live_agreement"
IDEMPOTENCY_INDEX = "ux_jobs_idempotency_key"


class Driver(Protocol):
    """How one kind of database is spoken to. Times go in as aware datetimes."""

    Error: type[Exception]  # what the driver raises
    transaction: str  # opens a transaction
    single: str  # goes ahead of a statement that is a transaction by itself

    def connect(self) -> Any:
        """A DB-API connection that begins no transactions by itself."""
        ...

    def run(self, connection: Any, statement: str, parameters: Mapping[str, Any], opening: str = "") -> Any:
        """The cursor after `opening` and the statement, whose parameters are written `%(name)s`."""
        ...

    def lost(self, connection: Any) -> bool:
        """Whether the server has gone, or has closed the connection."""
        ...

    def roll_back(self, connection: Any) -> None:
        """Undo what is open, if anything is."""
        ...

    def problem(self, error: Any) -> Exception:
        """The driver's error as one of the port's, without values, statements and addresses."""
        ...


class Session:
    """One transaction on one connection."""

    def __init__(self, driver: Driver, opening: str, rested: Any | None) -> None:
        """`rested`: a connection that was used before, if there is one."""
        self._driver = driver
        self._opening = opening
        self._may_be_dead = rested is not None
        self._begun = self._failed = False
        self.connection = driver.connect() if rested is None else rested

    def execute(self, statement: str, parameters: Mapping[str, Any] = _NOTHING) -> list[Row]:
        """Run one statement; the rows that it returns."""
        try:
            cursor = self._run(statement, parameters) if self._begun else self._begin(statement, parameters)
        except self._driver.Error:
            self._failed = True
            raise
        if cursor.description is None:
            return []
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def commit(self) -> None:
        """Raises RefusedStatement after a statement that failed: Postgres would roll back, and call it a success."""
        if self._failed:
            raise RefusedStatement("a transaction in which a statement failed cannot be committed")
        if self._begun:
            self._run("COMMIT", _NOTHING)

    def roll_back(self) -> bool:
        """Undo what was done; False if the connection is of no use any more."""
        try:
            self._driver.roll_back(self.connection)
        except self._driver.Error:
            return False
        return not self._driver.lost(self.connection)

    def _begin(self, statement: str, parameters: Mapping[str, Any]) -> Any:
        """A connection that died while it rested is replaced: nothing has happened on it yet. Saves asking it first."""
        self._begun = True
        try:
            return self._run(statement, parameters, self._opening)
        except self._driver.Error:
            if not self._may_be_dead or not self._driver.lost(self.connection):
                raise
        self.connection = self._driver.connect()
        return self._run(statement, parameters, self._opening)

    def _run(self, statement: str, parameters: Mapping[str, Any], opening: str = "") -> Any:
        return self._driver.run(self.connection, statement, parameters, opening)


class Connections:
    """A pool of at most `size` connections, each made when it is first needed."""

    def __init__(self, driver: Driver, size: int) -> None:
        self.driver = driver
        self._free = BoundedSemaphore(size)
        self._resting: deque[Any] = deque()
        self._closed = False

    @contextmanager
    def transaction(self) -> Iterator[Session]:
        """Commits on leaving, rolls back on an exception. Raises StoreUnavailable, AgreementInUse, RefusedStatement."""
        with self._session(self.driver.transaction) as session:
            yield session
            session.commit()

    def read(self, statement: str, parameters: Mapping[str, Any] = _NOTHING) -> list[Row]:
        """One statement that is a transaction by itself. Raises as `transaction`."""
        with self._session(self.driver.single) as session:
            return session.execute(statement, parameters)

    def close(self) -> None:
        """Close the connections that rest, and those in use when they are given back."""
        self._closed = True
        while (connection := self._rested()) is not None:
            connection.close()

    @contextmanager
    def _session(self, opening: str) -> Iterator[Session]:
        if not self._free.acquire(timeout=POOL):
            raise StoreUnavailable(f"no database connection came free within {POOL:g} s")
        session = None
        try:
            session = Session(self.driver, opening, self._rested())
            yield session
            self._give_back(session.connection, usable=True)
        except BaseException as e:
            problem = self.driver.problem(e) if isinstance(e, self.driver.Error) else e
            if session is not None:
                # What is unavailable here may be available on another connection, to a server that is not read-only.
                usable = session.roll_back() and not isinstance(problem, StoreUnavailable)
                self._give_back(session.connection, usable=usable)
            if problem is e:
                raise
            raise problem from None  # the cause quotes statements and addresses
        finally:
            self._free.release()

    def _give_back(self, connection: Any, *, usable: bool) -> None:
        if usable and not self._closed:
            self._resting.append(connection)
        else:
            connection.close()

    def _rested(self) -> Any | None:
        """The one that was used last: the fewest are kept busy, and it is the likeliest to be alive."""
        try:
            return self._resting.pop()
        except IndexError:
            return None


def in_use(index: str) -> AgreementInUse:
    """What the violation of one of the two indexes means."""
    if index == AGREEMENT_INDEX:
        return AgreementInUse("an unfinished workflow has this agreementId already")
    return AgreementInUse("a workflow was submitted with this idempotency key already")


def outdated() -> StoreUnavailable:
    """What a missing table or column means."""
    return StoreUnavailable("the database's schema is older than this program; run `sluice migrate`")


def open_connections(url: str, size: int) -> Connections:
    """The pool for `sqlite:///path` or a Postgres URL; connects on first use. Only the driver in use is imported."""
    if url.startswith("sqlite:"):
        from functions.store.sqlite import Sqlite

        return Connections(Sqlite(url), size)
    from functions.store.postgres import Postgres

    return Connections(Postgres(url), size)
