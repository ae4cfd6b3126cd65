"""What is logged or shown of foreign text holds no credentials, and costs no more than its length."""

from __future__ import annotations

import ast
import io
import json
import logging
from pathlib import Path

import pytest

from functions.log import about, json_handler, scrub

FUNCTIONS = Path(__file__).parents[2] / "functions"
OF_EACH_LINE = {"time", "level", "logger", "message", "error", "at"}


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("GET https://u:p@h.example/a?sig=1#f failed", "GET https://h.example/a failed"),
        ("'postgresql+psycopg2://u:p@h:5432/db?sslkey=x'", "'postgresql+psycopg2://h:5432/db'"),
        ("https://h/a?b=https://u:p@other", "https://h/a"),
        ("(http://a/b),HTTP://u@c/d#e", "(http://a/b),HTTP://c/d"),
        ("what? nothing # here", "what? nothing # here"),
        ("key 0x" + "aB" * 32, "key …"),
        ("", ""),
    ],
)
def test_credentials_queries_and_keys_are_removed(text: str, scrubbed: str) -> None:
    assert scrub(text) == scrubbed


@pytest.mark.parametrize("piece", ["x", "://", "a://", "a://b@", "a://b?", "f" * 63 + "g"])
def test_a_megabyte_of_hostile_text_is_scrubbed_in_one_pass(piece: str) -> None:
    """In quadratic time this would take hours, and the test's timeout would end it."""
    assert len(scrub(piece * (1_000_000 // len(piece)))) <= 1_000_000


def test_a_line_of_the_log_holds_no_control_characters_and_the_same_values() -> None:
    hostile = "\x1b[2J\x9b2J\x7f\u202e\u2028\U000e0041 Grüße"
    stream = io.StringIO()
    logger = logging.Logger("hostile")
    logger.addHandler(json_handler(stream))
    logger.warning("%s", hostile, extra=about(workflow=hostile))
    line = stream.getvalue().removesuffix("\n")
    assert line.isprintable()
    assert "Grüße" in line
    assert (json.loads(line)["message"], json.loads(line)["workflow"]) == (hostile, hostile)


def test_no_field_of_a_line_replaces_its_time_level_or_message() -> None:
    given = [
        (file.name, call.lineno, {each.arg for each in call.keywords})
        for file in FUNCTIONS.rglob("*.py")
        for call in ast.walk(ast.parse(file.read_text()))
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id == "about"
    ]
    assert len(given) > 20
    assert [each for each in given if each[2] & OF_EACH_LINE] == []
