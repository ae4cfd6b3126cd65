"""Records the statements that a store sends to its database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from functions.store.pool import Driver
from functions.store.sql import SqlStore


class RecordingDriver:
    """Passes everything on to a driver and keeps the statements."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.sent: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def run(self, connection: Any, statement: str, parameters: Any, opening: str = "") -> Any:
        if statement != "COMMIT":
            self.sent.append((statement, parameters))
        return self._driver.run(connection, statement, parameters, opening)


@contextmanager
def statements(store: SqlStore) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are sent to the database meanwhile, without BEGIN and COMMIT."""
    recording = RecordingDriver(store.pool.driver)
    with patch.object(store.pool, "driver", recording):
        yield recording.sent
