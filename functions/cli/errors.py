"""Exit codes that scripts can rely on, and the exception that ends a command with a message."""

from __future__ import annotations

from typing import NoReturn

import click

FAILED, USAGE_ERROR, UNAVAILABLE = 1, 2, 3
INTERNAL_ERROR, INTERRUPTED = 70, 130  # EX_SOFTWARE in sysexits.h; 128 + SIGINT, as shells report it


class CommandError(click.ClickException):
    """Ends the command with a message for the user and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code: int = exit_code  # type: ignore[misc]  # click declares it on the class, and reads the instance


def fail(message: str, exit_code: int = USAGE_ERROR) -> NoReturn:
    """Raise CommandError."""
    raise CommandError(message, exit_code)
