"""Records the statements that a store sends to its database."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from functions.store.driver import Driver, Statement
from functions.store.sql import SqlStore


class RecordingDriver:
    """Passes everything on to a driver and keeps the statements."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.sent: list[Statement] = []
        self.messages = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def run(self, connection: Any, statements: Sequence[Statement], opening: str = "") -> Any:
        self.messages += 1
        self.sent += [each for each in statements if each[0] != "COMMIT"]
        return self._driver.run(connection, statements, opening)


@contextmanager
def statements(store: SqlStore) -> Iterator[list[Statement]]:
    """The statements that are sent to the database meanwhile, without BEGIN and COMMIT."""
    with recorded(store) as recording:
        yield recording.sent


@contextmanager
def recorded(store: SqlStore) -> Iterator[RecordingDriver]:
    """The driver that has recorded what is sent to the database meanwhile."""
    recording = RecordingDriver(store.pool.driver)
    with patch.object(store.pool, "driver", recording):
        yield recording
