"""Shows held files in a terminal: tables, text, and pictures where the terminal can. Files may be hostile.

A preview is bounded, and each control character is shown as an escape. A picture is sent as base64, so none of its
bytes can control the terminal.
"""

from __future__ import annotations

import base64
import csv
import io
from collections.abc import Iterator, Mapping
from enum import Enum

from functions.cli.command_errors import printable

MOST_LINES, LONGEST_LINE = 60, 400  # of a text
MOST_ROWS, MOST_COLUMNS, LONGEST_CELL = 30, 12, 40  # of a table
MOST_READ = 64 << 10  # characters of a file that a preview looks at
LARGEST_PICTURE = 8 << 20  # bytes
_CHUNK = 4096  # bytes of base64 in one command of kitty's protocol
_DELIMITERS = {"csv": ",", "tsv": "\t"}
_TEXTS = frozenset(("json", "txt", "md", "svg", "html", "log", "yaml", "xml"))
_MAGIC = {"png": b"\x89PNG\r\n\x1a\n", "jpg": b"\xff\xd8\xff", "jpeg": b"\xff\xd8\xff", "gif": b"GIF8"}


class Protocol(Enum):
    """How a terminal is told to show a picture."""

    KITTY = "kitty"
    ITERM = "iTerm"
    SIXEL = "sixel"  # needs a program that decodes the picture, such as img2sixel


def protocol(environ: Mapping[str, str]) -> Protocol | None:
    """Return how the terminal shows pictures, by the variables that terminals set; None if it is not known to."""
    term, program = environ.get("TERM", ""), environ.get("TERM_PROGRAM", "")
    if "TMUX" in environ or term.startswith(("screen", "tmux")):
        return None  # it would swallow the picture
    if "KITTY_WINDOW_ID" in environ or term in ("xterm-kitty", "xterm-ghostty") or program == "ghostty":
        return Protocol.KITTY
    if program in ("iTerm.app", "WezTerm", "mintty") or environ.get("LC_TERMINAL") == "iTerm2":
        return Protocol.ITERM
    return Protocol.SIXEL if "sixel" in term or term in ("foot", "mlterm", "yaft-256color") else None


def picture(kind: str, content: bytes, shows: Protocol | None) -> str | None:
    """Return what makes the terminal show a picture; None if it cannot, or if the bytes are not such a picture."""
    magic = _MAGIC.get(kind)
    if magic is None or not content.startswith(magic) or len(content) > LARGEST_PICTURE:
        return None
    encoded = base64.b64encode(content).decode()
    if shows is Protocol.ITERM:
        return f"\x1b]1337;File=inline=1;size={len(content)};width=auto;preserveAspectRatio=1:{encoded}\a\n"
    if shows is not Protocol.KITTY or kind != "png":
        return None
    parts = [encoded[at : at + _CHUNK] for at in range(0, len(encoded), _CHUNK)]
    begins = ("a=T,f=100,", *[""] * (len(parts) - 1))
    goes_on = (*[1] * (len(parts) - 1), 0)
    commands = zip(begins, goes_on, parts, strict=True)
    return "".join(f"\x1b_G{begin}m={more};{part}\x1b\\" for begin, more, part in commands) + "\n"


def table(kind: str, content: bytes) -> tuple[list[list[str]], str] | None:
    """Return the first rows of a table, header first, and what is left out; None if it is not a table."""
    delimiter = _DELIMITERS.get(kind)
    if delimiter is None:
        return None
    read = _start_of(content)
    rows: list[list[str]] = []
    try:
        for row in csv.reader(io.StringIO(read, newline=""), delimiter=delimiter):
            rows.append([_cut(cell, LONGEST_CELL) for cell in row[:MOST_COLUMNS]])
            if len(rows) > MOST_ROWS:
                break
    except csv.Error:
        return None
    if len(content) > MOST_READ and len(rows) <= MOST_ROWS:
        rows = rows[:-1]  # it may be cut
    if not rows or not rows[0]:
        return None
    width = max(map(len, rows))
    left_out = f"the first {len(rows) - 1} rows" if len(rows) > MOST_ROWS or len(content) > MOST_READ else ""
    return [[*row, *[""] * (width - len(row))] for row in rows], left_out


def text(kind: str, content: bytes) -> Iterator[str] | None:
    """Return the first lines of a text; None if the file is not called one."""
    return _lines(content) if kind in _TEXTS or kind in _DELIMITERS else None


def _lines(content: bytes) -> Iterator[str]:
    lines = _start_of(content).split("\n")
    for line in lines[:MOST_LINES]:
        yield _cut(line.removesuffix("\r").expandtabs(), LONGEST_LINE)
    if len(lines) > MOST_LINES or len(content) > MOST_READ:
        yield f"… {len(content)} bytes in all"


def _start_of(content: bytes) -> str:
    return content[:MOST_READ].decode("utf-8-sig", "replace")


def _cut(shown: str, most: int) -> str:
    plain = printable(shown)
    return plain if len(plain) <= most else f"{plain[:most]}…"


def kind_of(path: str) -> str:
    """Return the ending of a file's name, without its dot."""
    return path.rpartition(".")[2].lower() if "." in path else ""
