"""Processes that die between two lines: proxies that count the calls a handler makes and die at the one they are told.

A process that dies in a transaction loses it, because its connection closes; one that dies after the commit has
committed. `Died` is no Exception, so nothing in the code under test can swallow it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


class Died(BaseException):
    """The process is gone."""


@dataclass
class Fate:
    """Dies before or after the `at`-th call; 0 lives for ever. `calls` names those that were made.

    With another `error` it lives on, and what it called has failed.
    """

    at: int = 0
    after: bool = False
    error: type[BaseException] = Died
    calls: list[str] = field(default_factory=list)

    def call(self, name: str, action: Callable[[], Any]) -> Any:
        self.calls.append(name)
        here = len(self.calls) == self.at
        if here and not self.after:
            raise self.error(name)
        result = action()
        if here:
            raise self.error(name)
        return result


class Mortal:
    """Passes on the methods of an adapter; those named in `only` (all, if empty) are counted."""

    def __init__(self, target: Any, fate: Fate, label: str) -> None:
        self._target, self._fate, self._label = target, fate, label

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        if name.startswith("_") or not callable(value):
            return value
        return lambda *a, **k: self._fate.call(f"{self._label}.{name}", lambda: value(*a, **k))


class MortalStore(Mortal):
    """A store whose transactions count their statements and their commit too."""

    @contextmanager
    def begin(self) -> Iterator[Any]:
        with self._committing() as transaction:
            yield Mortal(transaction, self._fate, "tx")

    @contextmanager
    def _committing(self) -> Iterator[Any]:
        """Dies before the commit inside of the transaction, after it outside."""
        fate = self._fate
        with self._target.begin() as transaction:
            yield transaction
            fate.calls.append("commit")
            here = len(fate.calls) == fate.at
            if here and not fate.after:
                raise fate.error("commit")
        if here:
            raise fate.error("commit")
