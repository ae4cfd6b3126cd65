"""`sluice results`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from functions.cli.errors import FAILED, fail
from functions.cli.options import json_option, print_json, talks

if TYPE_CHECKING:
    from rich.console import Console

    from functions.cli.api_client import Client
    from functions.cli.download import Place


@click.command()
@click.argument("job")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Download them into this folder.")
@json_option
@talks
def results(client: Client, job: str, out: Path | None, as_json: bool) -> None:
    """List the results of JOB, or download all of them.

    A download that broke off goes on where it was when it is called again. Every file is checked against its sha256.
    Logs go to the folder `logs` below OUT.

    \b
      sluice results 3f2a… --out results
    """
    from functions.cli import terminal, watch
    from functions.cli.download import writable

    seen = client.job(job)
    if not watch.over(seen) and out is not None:
        fail(f"{watch.words(seen)}: the results come at the end; `sluice status {job}` tells", FAILED)
    listed = seen["results"] or []
    if out is None:
        if as_json:
            print_json(listed)
        elif not listed:
            terminal.console(stderr=True).print("no results:", terminal.state(seen))
        else:
            rows = [(file["filename"], terminal.size(file["filesize"]), file["type"]) for file in listed]
            terminal.console().print(terminal.table(["result", "size", "type"], rows, right=["size"]))
        return
    writable(out)
    saved = save(client, seen, out, terminal.console(stderr=True))
    if as_json:
        print_json(saved)
    else:
        terminal.files(terminal.console(), saved)


def save(client: Client, seen: Any, out: Path, console: Console | None = None) -> list[dict[str, Any]]:
    """Download all results of a job into `out`, with a progress bar if `console` is a terminal."""
    from functions.cli.download import Download, places

    wanted = places(seen["results"] or [], out)
    with _bar(console, sum(place.size for place in wanted)) as moved:
        saved, done = [], 0
        for place in wanted:
            show = partial(moved, place, done)
            show(0)
            saved.append(Download(client, seen["jobId"], seen["owner"], show).fetch(place))
            done += place.size
    return saved


@contextmanager
def _bar(console: Console | None, total: int) -> Iterator[Callable[[Place, int, int], None]]:
    """What is told which file is being saved, how many bytes came before it, and how many of it are there."""
    if console is None or not console.is_terminal:
        yield lambda place, before, position: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("results", total=total)
        yield lambda place, before, position: bar.update(task, description=_short(place), completed=before + position)


def _short(place: Place) -> str:
    from functions.cli.terminal import clean

    return clean(place.path.name)[:40]
