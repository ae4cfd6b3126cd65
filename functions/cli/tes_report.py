"""Shows GA4GH TES tasks to people."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from rich.console import Console
from rich.text import Text

from functions.cli import terminal

_STYLES = {"COMPLETE": "green", "EXECUTOR_ERROR": "red", "SYSTEM_ERROR": "red", "CANCELED": "yellow"}
_LINES = 10  # shown of what an executor printed
_STREAMS = ("stdout", "stderr")


def print_task(task: Any, out: Console | None = None) -> None:
    """Print the state, what each executor printed, and what was delivered."""
    out = out or terminal.console()
    out.print(terminal.text(task["id"], "bold"), _state(task["state"]), terminal.text(task.get("name", "")))
    (log,) = task["logs"]
    for number, (executor, about) in enumerate(zip(task["executors"], log["logs"], strict=False), 1):
        out.print(terminal.text(f"  executor {number}", "bold"), terminal.text(" ".join(executor["command"])[:120]))
        out.print(f"    {_end(about)}")
        for stream in _STREAMS:
            if about.get(stream):
                out.print(terminal.text(f"    {stream}:", "dim"))
                _print_end(out, about[stream])
    for output in log["outputs"]:
        size = terminal.format_size(int(output["size_bytes"]))
        out.print("  delivered", terminal.text(output["url"]), terminal.text(f"({size})", "dim"))
    for line in log.get("system_logs", []):
        out.print(terminal.text(f"  {line}", "dim"))


def _print_end(out: Console, printed: str) -> None:
    lines = printed.splitlines()
    if len(lines) > _LINES:
        out.print(terminal.text(f"      … {len(lines) - _LINES} lines before; --json shows more", "dim"))
    terminal.print_log(out, "\n".join(lines[-_LINES:]).encode(errors="replace"), "      ")


def print_list(tasks: list[Any]) -> None:
    """Print one line for each task."""
    rows = [(task["id"], _state(task["state"]), task.get("name", ""), _time(task["creation_time"])) for task in tasks]
    terminal.console().print(terminal.table(["task", "state", "name", "created"], rows))


def _state(state: str) -> Text:
    return terminal.text(state, _STYLES.get(state, ""))


def _end(about: Any) -> str:
    if "end_time" not in about:
        return "running" if "start_time" in about else "not started"
    seconds = _seconds(about)
    took = "" if seconds is None else f" after {seconds:.1f} s"
    # The server sends -1 for an executor that was killed, and while a policy withholds the exit code and the times.
    return f"exit code {about['exit_code']}{took}" if about["exit_code"] >= 0 else "ended; the exit code is not known"


def _seconds(about: Any) -> float | None:
    if "start_time" not in about:
        return None
    return (_parsed(about["end_time"]) - _parsed(about["start_time"])).total_seconds()


def _time(at: str) -> str:
    return _parsed(at).astimezone().strftime("%Y-%m-%d %H:%M:%S")


def _parsed(at: str) -> datetime:
    return datetime.fromisoformat(at)
