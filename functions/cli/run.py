"""`sluice run`: one workflow from its document to its results on disk, with nothing else running."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from functions.cli.errors import FAILED, INTERRUPTED
from functions.cli.local_platform import interruptible, platform
from functions.cli.options import json_option, print_json

if TYPE_CHECKING:
    from rich.console import Console

    from functions.cli.api_client import Client
    from functions.cli.terminal import Stages

_LOOK = 0.25  # seconds between two looks at how far a stage is; its end is told


@click.command()
@click.argument("document", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the results go.  [default: out/<name of the document, or of its folder>]",
)
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Keep records, logs and working files there, instead of a folder that is removed at the end.",
)
@click.option(
    "--environments",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file of the compute environments, instead of `ocean-compute`.",
)
@click.option("--environment", help="Which of them; needed where there are several.")
@click.option("--require-isolation", is_flag=True, help="Refuse to run where the algorithm cannot be shut in.")
@json_option
def run(
    document: Path,
    out: Path | None,
    folder: Path | None,
    environments: Path | None,
    environment: str | None,
    require_isolation: bool,
    as_json: bool,
) -> None:
    """Run the workflow DOCUMENT on this machine; its results are left on disk.

    DOCUMENT is Ocean's {"stages": […]} or the whole body of a POST to /compute. A `url` in it, of a data set or of the
    algorithm, may be a path relative to DOCUMENT: these files, and no others, are served on loopback while it runs.
    With file: URLs it may name any file that you can read: run only documents that you trust.
    The algorithm's entrypoint runs with the programs of this machine; its container image is not used.

    \b
      sluice run examples/penguins/workflow.json
      sluice run workflow.json --out results --json
    """
    began = time.monotonic()
    from functions.cli import watch
    from functions.cli.api_client import Client
    from functions.cli.download import writable
    from functions.cli.file_server import shelf
    from functions.cli.keys import new_key
    from functions.cli.results_command import save
    from functions.cli.submit import checked, start

    with interruptible(), shelf() as served, _folder(folder) as place:
        read, (workflow, files) = checked(document, lambda read: (read, read.served(served.url)))
        served.fill(files)
        target = out or Path("out") / read.name
        writable(target)
        laptop = platform(place, environments=environments, require_isolation=require_isolation, end_stages=True)
        with laptop as on:
            client = Client(on.url, new_key())
            job = start(client, read, workflow, environment=environment)["jobId"]
            from functions.cli import terminal  # meanwhile the first stage starts

            console = terminal.console(stderr=as_json)
            with terminal.Stages(console) as stages:
                console.print(f"Running {terminal.clean(document)}", style="bold", markup=False)
                console.print(f"  isolation: {on.isolation.text}", style="dim", markup=False)
                seen, interrupted = _attend(client, job, stages, lambda _: on.wait(_LOOK))
                stages.say("fetching the results …")
                saved = save(client, seen, target)
            stage, log = watch.telling_log(client, seen)
            ended = client.job(job) if as_json else {}
    seconds = time.monotonic() - began
    if as_json:
        about = {"isolation": on.isolation.value, "stages": watch.stages(seen), "seconds": round(seconds, 3)}
        print_json({**ended, **about, "results": saved})
    else:
        _conclude(console, seen, saved, stage, log, seconds)
    if interrupted or not watch.went_well(seen):
        raise SystemExit(INTERRUPTED if interrupted else FAILED)


def _attend(client: Client, job: str, stages: Stages, pause: Callable[[float], object]) -> tuple[Any, bool]:
    """Show the stages until the job has ended; Ctrl-C stops it. What is known then, and whether it was interrupted."""
    from functions.cli import watch

    interrupted = False
    seen: Any = None
    try:
        for seen in watch.follow(client, job, pause=pause):
            stages.update(seen)
    except KeyboardInterrupt:
        interrupted = True
        stages.say("stopping …")
        client.stop(job, client.address)
        for seen in watch.follow(client, job, pause=pause):
            stages.update(seen)
    return seen, interrupted


def _conclude(console: Console, seen: Any, saved: list[dict[str, Any]], stage: str, log: bytes, seconds: float) -> None:
    from functions.cli import terminal, watch

    well = watch.went_well(seen)
    if not well:
        terminal.failure(console, seen, stage, log)
    if saved:
        console.print()
        terminal.files(console, saved)
    console.print(f"\n{'Finished' if well else 'Ended'} in {seconds:.2f} s", style="bold", markup=False)


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    """The platform's folder: the one that is kept, or one that goes."""
    if kept is not None:
        yield kept
        return
    with tempfile.TemporaryDirectory(prefix="sluice-", ignore_cleanup_errors=True) as made:
        yield Path(made)
