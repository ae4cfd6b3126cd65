"""JSON logs, one line each. Root logging has no handler under functions-framework: this gives it one.

Extra fields go in as `log.info("stage ended", extra=about(workflow=…, stage=…, event=…))`. Whoever logs keeps secrets,
signatures and the query strings of URLs out; `scrub` does it for text from elsewhere.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

_QUERY = re.compile(r"(?P<url>[a-z][a-z0-9+]*://[^\s?#\"']*)[?#][^\s\"']*", re.IGNORECASE)
_USERINFO = re.compile(r"(?P<scheme>[a-z][a-z0-9+]*://)[^\s/@\"']*@", re.IGNORECASE)
_LONG_HEX = re.compile(r"(?:0x)?[0-9a-fA-F]{64,}")


def setup(level: str = "INFO", stream: TextIO | None = None) -> None:
    """Send the log as JSON to `stream`, or to stderr; calling it again changes only the level."""
    root = logging.getLogger()
    if not any(isinstance(h.formatter, _JsonLines) for h in root.handlers):
        handler = logging.StreamHandler(stream or sys.stderr)
        handler.setFormatter(_JsonLines())
        root.addHandler(handler)
    root.setLevel(level.upper())


def about(**fields: Any) -> dict[str, Any]:
    """The `extra` of a log call; `None` values are left out."""
    return {"fields": {key: value for key, value in fields.items() if value is not None}}


def scrub(text: str) -> str:
    """`text` without user names and query strings in URLs, and without keys and signatures."""
    return _LONG_HEX.sub("…", _USERINFO.sub(r"\g<scheme>", _QUERY.sub(r"\g<url>", text)))


class _JsonLines(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": scrub(record.getMessage()),
            **getattr(record, "fields", {}),
        }
        if record.exc_info and record.exc_info[1] is not None:
            # The kind and the place, not the text: a driver's message may carry a URL with a password.
            error = record.exc_info[1]
            line["error"] = type(error).__name__
            line["at"] = _place(error)
        return json.dumps(line, ensure_ascii=False, default=str)


def _place(error: BaseException) -> str:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""
