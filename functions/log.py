"""Logs as JSON lines. functions-framework installs no handler on the root logger; `setup` does.

Add fields to a line with `log.info("stage ended", extra=about(workflow=…, stage=…, event=…))`. Fields are written as
they are: keep secrets, signatures and the query strings of URLs out of them, with `scrub` where needed. Messages are
scrubbed when they are written.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, TextIO

# The W3C `traceparent` of what this thread works on. Its ids are in every log line.
TRACEPARENT: ContextVar[str] = ContextVar("traceparent", default="")
_WORD = re.compile(r"[^\s\"']+")
_QUERY = re.compile(r"[?#].*")
_USERINFO = re.compile(r"://[^/@]*@")
_LONG_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]{64,}")


def setup(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Write the log to `stream`, by default stderr. Further calls change only the level."""
    root = logging.getLogger()
    if not any(isinstance(h.formatter, _JsonLines) for h in root.handlers):
        root.addHandler(json_handler(stream or sys.stderr))
    root.setLevel(level.upper())


def json_handler(stream: TextIO) -> logging.Handler:
    """A handler that writes JSON lines to `stream`."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(_JsonLines())
    return handler


def about(**fields: Any) -> dict[str, Any]:
    """Make the `extra` of a log call. Fields that are None are left out."""
    return {"fields": {key: value for key, value in fields.items() if value is not None}}


def scrub(text: str) -> str:
    """Remove credentials, query strings and fragments from URLs in `text`, and replace keys and signatures.

    Takes time in proportion to the length, whatever the text is: it may come from anybody.
    """
    return _LONG_HEX.sub("…", _WORD.sub(_scrub_url, text) if "://" in text else text)


def _scrub_url(word: re.Match[str]) -> str:
    head, separator, tail = word[0].partition("://")
    return head + _USERINFO.sub("://", separator + _QUERY.sub("", tail)) if separator else head


def printable_json(line: str) -> str:
    """A line of JSON with characters that are not printable as JSON's escapes, so that it cannot control a terminal."""
    if line.isprintable():
        return line
    return "".join(c if c.isprintable() else json.dumps(c)[1:-1] for c in line)


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": scrub(record.getMessage()),
            **_trace_ids(),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            # Type and line only: the message of a database driver may contain a URL with a password.
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            line["at"] = _raised_at(error)
        return printable_json(json.dumps(line, ensure_ascii=False, default=str))


def _trace_ids() -> dict[str, str]:
    traceparent = TRACEPARENT.get()
    return {"trace_id": traceparent[3:35], "span_id": traceparent[36:52]} if traceparent else {}


def _raised_at(error: BaseException) -> str:
    """The file and line that raised `error`."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""
