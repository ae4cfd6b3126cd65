"""What is worth another try, and how long to wait for it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from functions.staging.report import Failure

T = TypeVar("T")


class TransientError(Exception):
    """Something that may be over soon.

    `after`: seconds the other side asked us to wait. `restart`: what we have of the file is of no more use.
    `absent`: nobody is there, as a wrong address looks too.
    """

    def __init__(self, text: str, after: float | None = None, *, restart: bool = False, absent: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.after = after
        self.restart = restart
        self.absent = absent


@dataclass(frozen=True)
class RetryPolicy:
    """How often to try without any progress, and the seconds in between; timeouts of one connection."""

    tries: int = 6
    absent: int = 4  # tries where nobody has been there yet; with the defaults, 2 to 4 seconds
    first: float = 0.5
    longest: float = 30.0
    connect: float = 10.0
    stall: float = 30.0  # without a byte

    def delay(self, failures: int, trouble: TransientError) -> float:
        """Seconds to wait after the n-th failure in a row: doubling, with jitter, or what the other side asked for."""
        if trouble.after is not None:
            return trouble.after
        return min(self.longest, self.first * 2.0 ** (failures - 1)) * random.uniform(0.5, 1.0)  # noqa: S311

    def persist(
        self,
        name: str,
        action: Callable[[], T],
        wait: Callable[[float], None],
        progress: Callable[[], int] = lambda: 0,
    ) -> T:
        """Repeat `action` while it is in Trouble and `progress` grows, at most `tries` times without growth.

        Who has given something and is gone may come back; who was never there is given up sooner.

        Raises Failure (DataUnavailable) in the end, and whatever else `action` and `wait` raise.
        """
        failures = 0
        while True:
            before = progress()
            try:
                return action()
            except TransientError as trouble:
                failures = 1 if progress() > before else failures + 1
                if failures >= (self.absent if trouble.absent and not progress() else self.tries):
                    raise Failure("DataUnavailable", f"{trouble.text} ({failures} times in a row)") from None
                delay = self.delay(failures, trouble)
                logging.warning("%s: %s; again in %.1f s", name, trouble.text, delay)
                wait(delay)
