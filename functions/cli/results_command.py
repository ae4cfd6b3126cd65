"""`sluice results`, and the download that it shares with `sluice run`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from functions.cli.command_errors import FAILED, fail, printable
from functions.cli.options import json_option, print_json, server_options

if TYPE_CHECKING:
    from rich.console import Console

    from functions.cli.api_client import Client
    from functions.cli.download import Target


@click.command()
@click.argument("job")
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), help="Save all results into this folder.")
@json_option
@server_options
def results(client: Client, job: str, out: Path | None, as_json: bool) -> None:
    """List the results of a job, or save them.

    With --out, all results are downloaded, and each file is checked against its sha256. Logs go into the subfolder
    `logs`. If a download breaks off, run the command again: it resumes. The folder must be empty, or hold results of
    the same job.

    \b
    Exit codes: 2 if there is no such job. With --out also 1 if the job has not ended yet, its results were removed or a
    file is damaged, and 2 if the folder holds other files.

    \b
    Examples:
      sluice results JOB
      sluice results JOB --out results
    """
    from functions.cli import results_folder, terminal, watch

    found = client.job(job)
    if not watch.has_ended(found) and out is not None:
        state = watch.status_text(found)
        fail(f"job {job} has no results before it ends; its state is: {state} (see `sluice status {job}`)", FAILED)
    if found.get("removed") and out is not None:
        fail(f"the results of job {job} were removed: the job was deleted, or the operator has revoked them", FAILED)
    listed = found["results"] or []
    if out is None:
        _list(found, listed, as_json)
        return
    with results_folder.claimed(out, found["jobId"]):
        saved = save(client, found, out, terminal.console(stderr=True))
    if as_json:
        print_json(saved)
    else:
        terminal.print_files(terminal.console(), saved)
        terminal.print_warnings(terminal.console(stderr=True), found)


def save(client: Client, job: Any, out: Path, console: Console | None = None) -> list[dict[str, Any]]:
    """Download all results of a job into `out`, with a progress bar if `console` is a terminal.

    The results of another job that `out` holds are removed first.
    """
    from functions.cli import results_folder
    from functions.cli.download import Downloader, targets

    wanted = targets(job["results"] or [], out)
    results_folder.begin(out, job["jobId"], (target.path for target in wanted))
    with _progress_bar(console, sum(target.size for target in wanted)) as advance:
        saved, done = [], 0
        for target in wanted:
            report = partial(advance, target, done)
            report(0)
            saved.append(Downloader(client, job["jobId"], job["owner"], report).fetch(target))
            done += target.size
    return saved


def _list(job: Any, listed: list[Any], as_json: bool) -> None:
    from functions.cli import terminal

    if as_json:
        print_json(listed)
    elif not listed:
        terminal.console(stderr=True).print("no results:", terminal.coloured_state(job))
    else:
        rows = [(file["filename"], terminal.format_size(file["filesize"]), file["type"]) for file in listed]
        terminal.console().print(terminal.table(["result", "size", "type"], rows, right=["size"]))


@contextmanager
def _progress_bar(console: Console | None, total: int) -> Iterator[Callable[[Target, int, int], None]]:
    """A callback that gets the current file, the bytes of all files before it, and the bytes of it so far."""
    if console is None or not console.is_terminal:
        yield lambda target, before, position: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = (TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("results", total=total)
        yield lambda target, before, position: bar.update(
            task, description=_short_name(target), completed=before + position
        )


def _short_name(target: Target) -> str:
    return printable(target.path.name)[:40]
