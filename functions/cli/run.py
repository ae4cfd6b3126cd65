"""`sluice run`: one workflow, from its document to its results on disk, without a server."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from functions.cli.command_errors import FAILED, INTERRUPTED, fail
from functions.cli.local_platform import interruptible, running_platform
from functions.cli.options import environments_option, json_option, print_json, show_option, temporary_folder_option

if TYPE_CHECKING:
    from rich.console import Console

    from functions.cli.api_client import Client
    from functions.cli.terminal import StageDisplay

_POLL = 0.25  # seconds between two polls of a stage's progress; its end is announced


@click.command()
@click.argument("document", type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results; those of an earlier run in it are replaced.  [default: out/NAME, where NAME is the "
    "document's name, or its folder's for workflow.json]",
)
@temporary_folder_option
@environments_option
@click.option("--environment", help="The compute environment; required if the file has several.")
@click.option("--require-isolation", is_flag=True, help="Refuse to run if the algorithm cannot be isolated.")
@show_option
@json_option
def run(
    document: Path,
    out: Path | None,
    folder: Path | None,
    environments: Path | None,
    environment: str | None,
    require_isolation: bool,
    shown: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Run a workflow on this machine and save its results.

    DOCUMENT is JSON or YAML. It holds Ocean's {"stages": […]}, the whole body of a POST to /compute, or a WorkFlow
    object for Kubernetes. The `url` of a data set or of the algorithm may be a path relative to DOCUMENT. These files,
    and no others, are served on loopback while it runs.

    Run only documents that you trust: with file: URLs they may read every file that you can read. The algorithm's
    entrypoint runs with the programs of this machine; its container image is not used. Ctrl-C stops the workflow and
    saves what it has so far.

    \b
    Exit codes: 1 if the workflow failed or its results are held, 2 if the document is not valid, 130 after Ctrl-C.

    \b
    Examples:
      sluice run examples/penguins/workflow.json
      sluice run workflow.json --out results --json
    """
    began = time.monotonic()
    from functions.cli import results_folder, watch
    from functions.cli.api_client import Client
    from functions.cli.file_server import file_server
    from functions.cli.keys import new_key
    from functions.cli.results_command import save
    from functions.cli.submit import load_document, start_job

    with ExitStack() as stack:
        stack.enter_context(interruptible())
        server = stack.enter_context(file_server())
        read, (workflow, files) = load_document(document, lambda read: (read, read.served(server.url)))
        server.serve(files)
        target = out or Path("out") / read.name
        stack.enter_context(results_folder.claimed(target))
        work = stack.enter_context(platform_folder(folder))
        options: dict[str, Any] = {"environments": environments, "require_isolation": require_isolation, "shown": shown}
        running = running_platform(work, end_stages=True, temporary=folder is None, **options)
        platform = stack.enter_context(running)
        client = Client(platform.url, new_key())
        job_id = start_job(client, read, workflow, environment=environment, if_paused=fail)["jobId"]
        from functions.cli import terminal  # takes a while to import; the first stage starts meanwhile

        console = terminal.console(stderr=as_json)
        with terminal.StageDisplay(console) as display:
            console.print(terminal.text(f"Running {document}", "bold"))
            console.print(terminal.text(f"  isolation: {platform.isolation.text}", "dim"))
            job, interrupted = _wait_for_end(client, job_id, display, lambda _: platform.wait(_POLL))
            if watch.is_held(job):
                fail_held(folder)
            display.show_activity("saving the results …")
            saved = save(client, job, target)
        stage, log = watch.failed_stage_log(client, job)
        final = client.job(job_id) if as_json else {}
    seconds = time.monotonic() - began
    if as_json:
        about = {"isolation": platform.isolation.value, "stages": watch.attempts(job), "seconds": round(seconds, 3)}
        print_json({**final, **about, "results": saved})
    else:
        _report(console, job, saved, stage, log, seconds)
    if interrupted or not watch.succeeded(job):
        raise SystemExit(INTERRUPTED if interrupted else FAILED)


def _wait_for_end(
    client: Client, job_id: str, display: StageDisplay, pause: Callable[[float], object]
) -> tuple[Any, bool]:
    """Show the stages until the job has ended or its results are held; Ctrl-C stops it.

    Returns its status, and whether it was interrupted.
    """
    from functions.cli import watch

    interrupted = False
    job: Any = None
    try:
        for job in watch.follow(client, job_id, pause=pause):
            display.update(job)
            if watch.is_held(job):
                break
    except KeyboardInterrupt:
        interrupted = True
        display.show_activity("stopping …")
        client.stop(job_id, client.address)
        for job in watch.follow(client, job_id, pause=pause):
            display.update(job)
    return job, interrupted


def _report(console: Console, job: Any, saved: list[dict[str, Any]], stage: str, log: bytes, seconds: float) -> None:
    from functions.cli import terminal, watch

    succeeded = watch.succeeded(job)
    if not succeeded:
        terminal.print_failure(console, job, stage, log)
    if saved:
        console.print()
        terminal.print_files(console, saved)
    terminal.print_warnings(console, job)
    console.print()
    console.print(terminal.text(f"{'Finished' if succeeded else 'Ended'} in {seconds:.2f} s", "bold"))


def fail_held(kept: Path | None) -> NoReturn:
    """End the command, because nobody can decide about held results before the server is gone."""
    remedy = (
        f"start `sluice up --dir {kept}`, and decide there"
        if kept
        else "they are removed now; to decide about them, submit to `sluice up` instead"
    )
    fail(f"the results are held until a checker has decided (docs/trust.md); {remedy}", FAILED)


@contextmanager
def platform_folder(kept: Path | None) -> Iterator[Path]:
    """The folder given with --dir, or a temporary one that is removed at the end."""
    if kept is not None:
        yield kept
        return
    from functions.local.leftovers import RUN_PREFIX, remove_stale_run_folders, remove_tree

    remove_stale_run_folders()
    made = Path(tempfile.mkdtemp(prefix=RUN_PREFIX))
    try:
        yield made
    finally:
        remove_tree(made)
