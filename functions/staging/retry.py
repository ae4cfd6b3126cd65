"""Retries of one operation: which errors are worth it, how often, and with which pauses."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import NamedTuple, TypeVar

from functions.backoff import Backoff
from functions.staging.report import StageFailure

T = TypeVar("T")


class TransientError(Exception):
    """An error that may go away.

    `after`: seconds that the server asked us to wait. `restart`: the bytes received so far are useless.
    `absent`: no server answered at all, which may also mean that the address is wrong.
    """

    def __init__(self, text: str, after: float | None = None, *, restart: bool = False, absent: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.after = after
        self.restart = restart
        self.absent = absent


BACKOFF = Backoff(first=0.5, factor=2, longest=30)


def jittered(seconds: float) -> float:
    """Return a random part of `seconds`, between a half and all of it, so that clients do not retry in step."""
    import random

    return seconds * random.uniform(0.5, 1.0)  # noqa: S311


class RetryPolicy(NamedTuple):
    """The number of tries without progress, the pauses between them, and the timeouts of one connection, in seconds."""

    tries: int = 6
    absent: int = 4  # tries for a server that never answered; with the defaults this takes 2 to 4 seconds
    backoff: Backoff = BACKOFF
    connect: float = 10.0
    stall: float = 30.0  # without a byte

    def delay(self, failures: int, error: TransientError) -> float:
        """Seconds to wait after the n-th failure in a row: what the server asked for, else the backoff with jitter."""
        if error.after is not None:
            return error.after
        return jittered(self.backoff.delay(failures))

    def call(
        self,
        name: str,
        action: Callable[[], T],
        wait: Callable[[float], None],
        progress: Callable[[], int] = lambda: 0,
    ) -> T:
        """Call `action` again after each TransientError, up to the limit of failures in a row.

        A failure counts as the first in a row if `progress` has grown since the last. A server that already sent
        something gets `tries` attempts; one that never answered gets `absent`. `name` stands in the log.

        Raises StageFailure (DataUnavailable) at the limit, and everything else that `action` and `wait` raise.
        """
        failures = 0
        while True:
            before = progress()
            try:
                return action()
            except TransientError as error:
                failures = 1 if progress() > before else failures + 1
                if failures >= (self.absent if error.absent and not progress() else self.tries):
                    raise StageFailure("DataUnavailable", f"{error.text} ({failures} times in a row)") from None
                delay = self.delay(failures, error)
                logging.warning("%s: %s; trying again in %.1f s", name, error.text, delay)
                wait(delay)
