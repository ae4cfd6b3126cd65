"""How commands end: exit codes that scripts can use, and failures with a message."""

from __future__ import annotations

from typing import NoReturn

import click

FAILED, BAD_USE, NO_SERVER = 1, 2, 3
FAULT, INTERRUPTED = 70, 130  # as sysexits.h and shells have them


class Failure(click.ClickException):
    """Ends the command with a message for the user and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code: int = exit_code  # type: ignore[misc]  # click reads it from the instance too


def fail(message: str, exit_code: int = BAD_USE) -> NoReturn:
    raise Failure(message, exit_code)
