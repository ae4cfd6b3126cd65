"""Exit codes for scripts, the exception that ends a command with a message, and text that is safe on a terminal."""

from __future__ import annotations

import unicodedata
from typing import NoReturn

import click

FAILED, USAGE_ERROR, UNAVAILABLE = 1, 2, 3
INTERNAL_ERROR, INTERRUPTED = 70, 130  # EX_SOFTWARE in sysexits.h; 128 + SIGINT, as shells report it


# Unicode categories of characters that act instead of being shown: controls, format characters such as the switches of
# the writing direction, lone surrogates, line and paragraph separators.
_INVISIBLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: object) -> str:
    """`text` on one line, with invisible characters as escapes such as `\\x1b`.

    All text of servers and algorithms passes through here before it is printed: it could control the terminal, or look
    like other text.
    """
    shown = str(text)
    if shown.isprintable():
        return shown
    return "".join(_escape(c) if unicodedata.category(c) in _INVISIBLE else c for c in shown)


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


class CommandError(click.ClickException):
    """Ends the command with a message for the user and an exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__("\n".join(printable(line) for line in message.split("\n")))
        self.exit_code: int = exit_code  # type: ignore[misc]  # click declares it on the class, and reads the instance


def fail(message: str, exit_code: int = USAGE_ERROR) -> NoReturn:
    """Raise CommandError."""
    raise CommandError(message, exit_code)
