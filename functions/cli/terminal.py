"""What a person sees. Colour and movement on a terminal only; elsewhere plain lines.

Names, reasons and logs come from elsewhere: control characters are taken out, so that they cannot steer the terminal.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from functions.cli import watch

_WIDE = 200  # columns where there is no terminal that says how wide it is
_MARKS = {"succeeded": ("✓", "green"), "stopped": ("■", "yellow")}
_TAIL = 20  # lines of a log


def console(*, stderr: bool = False) -> Console:
    plain = Console(stderr=stderr, highlight=False, soft_wrap=True)
    return plain if plain.is_terminal else Console(stderr=stderr, highlight=False, soft_wrap=True, width=_WIDE)


def clean(text: object) -> str:
    """`text` on one line, without control and format characters."""
    return "".join(c if unicodedata.category(c)[0] != "C" else " " for c in str(text))


def size(count: int) -> str:
    return decimal(count)


def progress(told: Any) -> str:
    """How far a stage is, as the API tells it; empty where it tells nothing."""
    if not told:
        return ""
    whole = "" if told["bytesTotal"] is None else f" of {size(told['bytesTotal'])}"
    return f"{told['files']} of {told['filesTotal']} files, {size(told['bytes'])}{whole}"


def moment(epoch: str | None) -> str:
    """A time of the API, in the user's own time zone."""
    return datetime.fromtimestamp(float(epoch)).astimezone().strftime("%Y-%m-%d %H:%M:%S") if epoch else "–"


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], right: Sequence[str] = ()) -> Table:
    """A table without frames, easily cut into columns by other programs too."""
    shown = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0), header_style="dim")
    for column in columns:
        shown.add_column(column, justify="right" if column in right else "left", overflow="fold")
    for row in rows:
        shown.add_row(*(cell if isinstance(cell, Text) else Text(clean(cell)) for cell in row))
    return shown


def state(seen: Any) -> Text:
    """Where a job stands, in a word and its colour."""
    text = clean(watch.words(seen))
    if not watch.over(seen):
        return Text(text, "cyan")
    return Text(text, "green" if watch.went_well(seen) else "red")


class Stages:
    """Shows the stages of one job as they happen; `with` it, a terminal also shows what runs now."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._shown: set[tuple[str, int]] = set()
        self._text = ""
        self._status = out.status("starting", spinner="dots") if out.is_terminal else None

    def __enter__(self) -> Stages:
        if self._status:
            self._status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._status:
            self._status.stop()

    def say(self, text: str) -> None:
        """What happens now, on a terminal."""
        if self._status:
            self._status.update(Text(text))

    def update(self, seen: Any) -> None:
        for attempt in watch.stages(seen):
            key = (attempt["stage"], attempt["attempt"])
            if attempt["outcome"] is None:
                again = f", attempt {attempt['attempt']}" if attempt["attempt"] > 1 else ""
                waits = f"waits: {clean(seen['waiting'])}" if seen.get("waiting") else ""
                self.say(f"{attempt['stage']}{again} … {waits or progress(seen.get('progress'))}")
            elif key not in self._shown:
                self._shown.add(key)
                self._out.print(_stage_line(attempt))
        text = clean(watch.words(seen))
        if "attempts" not in seen and text != self._text:
            self._text = text
            self._out.print(Text(f"  {text}"))


def _stage_line(attempt: dict[str, Any]) -> Text:
    mark, colour = _MARKS.get(attempt["outcome"], ("✗", "red"))
    line = Text.assemble((f"  {mark} ", colour), f"{attempt['stage']:<10}", (f"{attempt['seconds']:>8.2f} s", "dim"))
    if attempt["outcome"] != "succeeded":
        line.append(f"   {clean(attempt['outcome'])}" + (f": {clean(attempt['reason'])}" if attempt["reason"] else ""))
    return line


def failure(out: Console, seen: Any, stage: str | None, log: bytes) -> None:
    """Why a job did not end well, and the end of the log that tells more."""
    details = seen.get("terminationDetails") or {}
    out.print(Text(f"\n{clean(watch.words(seen))} (status {seen['status']})", "red bold"))
    if seen.get("reason"):
        out.print(Text(f"  reason      {clean(seen['reason'])}"))
    if details.get("exitCode") is not None:
        killed = ", killed for its memory" if details.get("OOMKilled") else ""
        out.print(Text(f"  exit code   {details['exitCode']}{killed}"))
    lines = log.decode(errors="replace").splitlines()
    if lines:
        which = "log" if len(lines) <= _TAIL else f"last {_TAIL} lines of the log"
        out.print(Text(f"\nThe {which} of {stage}:", "bold"))
        for line in lines[-_TAIL:]:
            out.print(Text(f"  {clean(line)}"))


def files(out: Console, saved: Iterable[dict[str, Any]]) -> None:
    """A table of downloaded files."""
    out.print(table(["result", "size", "saved as"], _file_rows(saved), right=["size"]))


def _file_rows(saved: Iterable[dict[str, Any]]) -> Iterable[tuple[object, ...]]:
    for file in saved:
        yield Text(clean(file["filename"]), "bold"), size(file["filesize"]), file["path"]
