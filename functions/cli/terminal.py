"""Output for people: tables, coloured states, and the stages of a job while it runs.

Colour and movement appear on a terminal only; elsewhere the output is plain lines. Names, reasons and logs come from
servers and algorithms, so everything is printed as a `text`, which holds no control characters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from functions.cli import watch
from functions.cli.command_errors import printable

_WIDTH = 200  # columns, used if the output is not a terminal, which has no width
_MARKS = {"succeeded": ("✓", "green"), "stopped": ("■", "yellow")}
_WARNINGS = 10  # shown at most
_TO_REVIEW = "Review"  # the reason of a check that leaves the decision to a person
_LOG_LINES = 20  # shown of the log of a failed stage


def console(*, stderr: bool = False) -> Console:
    """stdout or stderr. Interprets neither Rich's markup nor emoji codes in strings."""
    out = Console(stderr=stderr, highlight=False, markup=False, emoji=False, soft_wrap=True)
    if not out.is_terminal:
        out.width = _WIDTH
    return out


def text(value: object, style: str = "") -> Text:
    """`value` on one line, with control characters made visible."""
    return Text(printable(value), style)


def print_log(out: Console, log: bytes, indent: str = "") -> None:
    """Print a log line by line, with control characters made visible."""
    for line in log.splitlines():
        out.print(text(indent + line.decode(errors="replace").expandtabs()))


def format_size(count: int) -> str:
    return decimal(count)


def format_progress(progress: Any) -> str:
    """The `progress` of a stage as the API returns it; empty if there is none."""
    if not progress:
        return ""
    whole = "" if progress["bytesTotal"] is None else f" of {format_size(progress['bytesTotal'])}"
    return f"{progress['files']} of {progress['filesTotal']} files, {format_size(progress['bytes'])}{whole}"


def format_time(epoch: str | None) -> str:
    """A time as the API returns it (seconds since 1970), in the user's time zone."""
    return datetime.fromtimestamp(float(epoch)).astimezone().strftime("%Y-%m-%d %H:%M:%S") if epoch else "–"


def table(
    columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = (), whole: str = ""
) -> Table:
    """A table without borders, so that other programs can split its columns. `right` names right-aligned columns.

    `whole` names a column whose cells are never cut. With it each row takes one line, and other cells are cut to fit.
    """
    shown = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for column in columns:
        header, kept = _cell(column, whole), column == whole
        shown.add_column(header, justify="right" if column in right else "left", overflow="fold", no_wrap=kept)
    for row in rows:
        shown.add_row(*(_cell(each, whole) for each in row))
    return shown


def _cell(value: object, whole: str) -> Text:
    cell = value if isinstance(value, Text) else text(value)
    if whole:
        cell.no_wrap, cell.overflow = True, "ellipsis"
    return cell


def coloured_state(job: Any) -> Text:
    """The state of a job: cyan while it runs, then green or red."""
    if not watch.has_ended(job):
        return text(watch.status_text(job), "cyan")
    return text(watch.status_text(job), "green" if watch.succeeded(job) else "red")


@contextmanager
def activity(description: str) -> Iterator[None]:
    """Say on stderr what takes so long: with a spinner on a terminal, else as a line."""
    out = console(stderr=True)
    if out.is_terminal:
        with out.status(text(description), spinner="dots"):
            yield
    else:
        out.print(text(description))
        yield


def format_waiting(waiting: Any) -> str:
    """The reason for which a stage waits, and since when; empty if it does not wait."""
    return f"{waiting['reason']}, since {format_time(waiting['since'])}" if waiting else ""


class StageDisplay:
    """Prints a line for each stage attempt that ends. A terminal also shows what happens now, inside a `with`."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._printed: set[tuple[str, int]] = set()
        self._state = ""
        self._spinner = out.status("starting", spinner="dots") if out.is_terminal else None

    def __enter__(self) -> StageDisplay:
        if self._spinner:
            self._spinner.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._spinner:
            self._spinner.stop()

    def show_activity(self, activity: str) -> None:
        """Show beside the spinner what happens now."""
        if self._spinner:
            self._spinner.update(text(activity))

    def update(self, job: Any) -> None:
        """Print what has changed since the last call."""
        for attempt in watch.attempts(job):
            key = (attempt["stage"], attempt["attempt"])
            if attempt["outcome"] is None:
                self._show_running(attempt, job)
            elif key not in self._printed:
                self._printed.add(key)
                self._out.print(_attempt_line(attempt))
        state = watch.status_text(job)
        if "attempts" not in job and state != self._state:
            self._state = state
            self._out.print(text(f"  {state}"))

    def _show_running(self, attempt: dict[str, Any], job: Any) -> None:
        again = f", attempt {attempt['attempt']}" if attempt["attempt"] > 1 else ""
        waiting = f"waiting: {format_waiting(job['waiting'])}" if job.get("waiting") else ""
        self.show_activity(f"{attempt['stage']}{again} … {waiting or format_progress(job.get('progress'))}")


def _attempt_line(attempt: dict[str, Any]) -> Text:
    to_review = attempt["reason"] == _TO_REVIEW
    mark, colour = ("!", "yellow") if to_review else _MARKS.get(attempt["outcome"], ("✗", "red"))
    line = Text(f"  {mark} ", colour)
    line = Text.assemble(line, text(f"{attempt['stage']:<10}"), (f"{attempt['seconds']:>8.2f} s", "dim"))
    if to_review:
        line.append_text(text("   has findings to review"))
    elif attempt["outcome"] != "succeeded":
        reason = f": {attempt['reason']}" if attempt["reason"] else ""
        line.append_text(text(f"   {attempt['outcome']}{reason}"))
    return line


def print_failure(out: Console, job: Any, stage: str | None, log: bytes) -> None:
    """Print why a job failed, and the end of the failed stage's log."""
    details = job.get("terminationDetails") or {}
    out.print()
    out.print(text(f"{watch.status_text(job)} (status {job['status']})", "red bold"))
    if job.get("reason"):
        out.print(text(f"  reason      {job['reason']}"))
    if details.get("exitCode") is not None:
        killed = ", killed because it used too much memory" if details.get("OOMKilled") else ""
        out.print(text(f"  exit code   {details['exitCode']}{killed}"))
    lines = log.splitlines()
    if lines:
        part = "Log" if len(lines) <= _LOG_LINES else f"Last {_LOG_LINES} lines of the log"
        out.print()
        out.print(text(f"{part} of {stage}:", "bold"))
        print_log(out, b"\n".join(lines[-_LOG_LINES:]), indent="  ")


def print_warnings(out: Console, job: Any) -> None:
    """Print which outputs were not published, or have another name."""
    warnings = job.get("warnings") or []
    for warning in warnings[:_WARNINGS]:
        out.print(text(f"Warning: {warning}", "yellow"))
    if len(warnings) > _WARNINGS:
        more = f"{len(warnings) - _WARNINGS} more warnings are in the status as JSON"
        out.print(text(f"… {more}", "yellow"))


def print_files(out: Console, saved: Iterable[dict[str, Any]]) -> None:
    """Print a table of downloaded files."""
    out.print(table(["result", "size", "saved as"], _file_rows(saved), right=["size"]))


def _file_rows(saved: Iterable[dict[str, Any]]) -> Iterable[tuple[object, ...]]:
    for file in saved:
        yield text(file["filename"], "bold"), format_size(file["filesize"]), file["path"]
