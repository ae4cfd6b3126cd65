"""Held files in a terminal: tables, text and pictures, bounded, and without a way to control the terminal."""

from __future__ import annotations

import base64
import re

import pytest

from functions.cli import previews
from functions.cli.previews import (
    LARGEST_PICTURE,
    LONGEST_CELL,
    LONGEST_LINE,
    MOST_COLUMNS,
    MOST_LINES,
    MOST_ROWS,
    Protocol,
)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 40
HOSTILE = "\x1b]0;owned\x07\x1b[2J\x9b2J\u202e\r\x08\u2028\x85"


@pytest.mark.parametrize(
    ("environ", "shows"),
    [
        ({}, None),
        ({"TERM": "xterm-256color"}, None),
        ({"TERM": "xterm-kitty"}, Protocol.KITTY),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, Protocol.KITTY),
        ({"TERM": "xterm-ghostty", "TERM_PROGRAM": "ghostty"}, Protocol.KITTY),
        ({"TERM_PROGRAM": "iTerm.app"}, Protocol.ITERM),
        ({"TERM_PROGRAM": "WezTerm"}, Protocol.ITERM),
        ({"LC_TERMINAL": "iTerm2"}, Protocol.ITERM),
        ({"TERM": "foot"}, Protocol.SIXEL),
        ({"TERM": "xterm-sixel"}, Protocol.SIXEL),
        ({"TERM": "screen-256color", "KITTY_WINDOW_ID": "1", "TMUX": "/tmp/tmux"}, None),
    ],
)
def test_a_terminal_is_known_by_its_variables(environ: dict[str, str], shows: Protocol | None) -> None:
    assert previews.protocol(environ) is shows


def test_kitty_gets_a_picture_in_parts_that_are_whole_together() -> None:
    drawn = previews.picture("png", PNG, Protocol.KITTY)
    assert drawn is not None
    parts = re.findall(r"\x1b_G([^;]*);([A-Za-z0-9+/=]*)\x1b\\", drawn)
    assert base64.b64decode("".join(data for _, data in parts)) == PNG
    assert [keys for keys, _ in parts] == ["a=T,f=100,m=1", *["m=1"] * (len(parts) - 2), "m=0"]
    assert all(len(data) <= 4096 for _, data in parts)


def test_iterm_gets_a_picture_inline() -> None:
    drawn = previews.picture("jpg", b"\xff\xd8\xff" + b"x" * 100, Protocol.ITERM)
    assert drawn is not None
    assert re.fullmatch(r"\x1b\]1337;File=inline=1;[a-zA-Z0-9=;]*:[A-Za-z0-9+/=]*\x07\n", drawn)


@pytest.mark.parametrize(
    ("kind", "content", "shows"),
    [
        ("png", PNG, None),
        ("png", PNG, Protocol.SIXEL),
        ("png", b"\x1b[2J", Protocol.KITTY),  # is called a picture only
        ("jpg", b"\xff\xd8\xff", Protocol.KITTY),  # kitty takes PNG alone
        ("png", PNG[:8] + bytes(LARGEST_PICTURE), Protocol.KITTY),
        ("svg", b"<svg/>", Protocol.KITTY),
    ],
)
def test_what_cannot_be_shown_is_not_sent(kind: str, content: bytes, shows: Protocol | None) -> None:
    assert previews.picture(kind, content, shows) is None


@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_the_start_of_a_table_is_shown_as_one(kind: str) -> None:
    delimiter = "," if kind == "csv" else "\t"
    line = delimiter.join(["x" * 41] * 14) + "\n"
    shown = previews.table(kind, (line * 1000).encode())
    assert shown is not None
    rows, left_out = shown
    assert (len(rows), len(rows[0]), left_out) == (MOST_ROWS + 1, MOST_COLUMNS, f"the first {MOST_ROWS} rows")
    assert {len(cell) for row in rows for cell in row} == {LONGEST_CELL + 1}


@pytest.mark.parametrize("content", [b"", b"\n", b"a" * (1 << 20), b'"' + b"x" * 200_000, b"\0\n\0"])
def test_a_table_that_is_none_does_no_harm(content: bytes) -> None:
    shown = previews.table("csv", content)
    assert shown is None or len(str(shown)) < 10_000


def test_the_start_of_a_text_is_shown() -> None:
    lines = list(previews.text("txt", ("x" * 1000 + "\n").encode() * 1000) or ())
    assert len(lines) == MOST_LINES + 1
    assert {len(line) for line in lines[:-1]} == {LONGEST_LINE + 1}
    assert lines[-1] == "… 1001000 bytes in all"
    assert previews.text("pkl", b"x") is None


@pytest.mark.parametrize("kind", ["csv", "tsv", "txt", "json", "svg"])
def test_control_characters_are_shown_as_escapes(kind: str) -> None:
    content = f"a{HOSTILE},b{HOSTILE}\n1,2\n".encode()
    shown = str(previews.table(kind, content)) + "\n".join(previews.text(kind, content) or ())
    assert "owned" in shown
    assert not set(shown) & set("\x1b\x07\x9b\u202e\x08\u2028\x85\r")
