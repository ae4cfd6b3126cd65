"""Ends a stage program: an exit code, and a termination message that Kubernetes and the laptop read.

The message is a line, `Reason: text`. The reason is one machine-readable word; readers stop at the first `:`. A second
line holds the facts that the program reports (functions/workflow/reported_facts.py).
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from functions.log import scrub
from functions.workflow import reported_facts

# Kubernetes keeps 4096 bytes of a termination message.
_MAX_BYTES = 2048
_KUBERNETES = Path("/dev/termination-log")


class StageFailure(Exception):
    """Ends the stage. `reason` is machine-readable; `text` is for people and must not contain secrets.

    `path` is the file that failed, if it was one.
    """

    def __init__(self, reason: str, text: str, path: str = "") -> None:
        super().__init__(text)
        self.reason = reason
        self.text = text
        self.path = path


def finish(
    code: int, reason: str, message: str, volume: Path | None = None, facts: Mapping[str, str] | None = None
) -> int:
    """Write the termination message and return `code`, for `raise SystemExit(finish(…))`.

    It goes to the file named by TERMINATION_LOG, else to /dev/termination-log, else to `volume`/termination-message.
    If it cannot be written, the exit code stays the same.
    """
    line = f"{reason}: {' '.join(scrub(message).split())}".encode(errors="replace")[:_MAX_BYTES]
    for path in _message_files(volume):
        try:
            path.write_bytes(line + reported_facts.line(facts or {}))
            break
        except OSError:
            continue
    (logging.info if code == 0 else logging.error)("%s", line.decode(errors="ignore"))
    return code


def _message_files(volume: Path | None) -> list[Path]:
    if named := os.environ.get("TERMINATION_LOG"):
        return [Path(named)]
    here = [volume / "termination-message"] if volume else []
    return [_KUBERNETES, *here] if os.access(_KUBERNETES, os.W_OK) else here


def log_to(path: Path) -> None:
    """Log plain lines to stderr and append them to the file `path`. Every attempt appends to the same file."""
    handlers: list[logging.Handler] = [logging.StreamHandler(sys.stderr)]
    error: OSError | None = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handlers.append(logging.FileHandler(path, encoding="utf-8"))
    except OSError as e:
        error = e
    for handler in handlers:
        handler.setFormatter(_Plain("%(asctime)s %(levelname)s %(message)s", "%Y-%m-%dT%H:%M:%S%z"))
    logging.basicConfig(level=logging.INFO, handlers=handlers, force=True)
    # urllib3 logs malformed headers with the URL and a stack trace.
    logging.getLogger("urllib3").setLevel(logging.CRITICAL)
    if error:
        logging.warning("the log file %s cannot be written: %s", path, error.strerror)


class _Plain(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return scrub(super().format(record)).replace("\n", " ")
