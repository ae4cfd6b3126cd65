"""`sluice submit`, and the steps that it shares with `sluice run`."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from functions.cli.command_errors import FAILED, INTERRUPTED, fail, printable
from functions.cli.options import json_option, owner_option, print_json, server_options

if TYPE_CHECKING:
    from rich.console import Console

    from functions.cli.api_client import Client
    from functions.cli.document_file import Document

T = TypeVar("T")
_REST_OF_LOG = 10.0  # seconds for the rest of the log after a job has ended


@click.command()
@click.argument("document", type=click.Path(path_type=Path))
@click.option("--environment", help="The compute environment; required if the server offers several.")
@click.option("--agreement", metavar="ID", help="The agreementId.  [default: the document's, or a new one]")
@click.option("--wait", is_flag=True, help="Wait until the job has ended; exit with 1 if it failed.")
@click.option("--logs", "with_logs", is_flag=True, help="With --wait: print the algorithm's log on stderr as it grows.")
@owner_option
@json_option
@server_options
def submit(
    client: Client,
    document: Path,
    environment: str | None,
    agreement: str | None,
    wait: bool,
    with_logs: bool,
    owner: str | None,
    as_json: bool,
) -> None:
    """Submit a workflow to a server and print the job's id.

    DOCUMENT is JSON or YAML. It holds Ocean's {"stages": […]}, the whole body of a POST to /compute, or a WorkFlow
    object for Kubernetes. An algorithm whose `url` is a path relative to DOCUMENT is sent as `rawcode`. A data set
    whose `url` is such a path becomes a file: URL, which only a server on this machine can read.

    \b
    Exit codes: 2 if the document or the request is refused; with --wait, 1 if the job failed or was stopped.

    \b
    Examples:
      sluice submit workflow.json --wait --logs
      job=$(sluice submit workflow.json)
    """
    if with_logs and not wait:
        fail("--logs needs --wait; `sluice logs JOB --follow` follows the log of a job that runs")
    read, workflow = load_document(document, lambda read: (read, read.standalone()))
    job = start_job(client, read, workflow, environment=environment, agreement=agreement, owner=owner, if_paused=_warn)
    if not wait:
        print_json(job) if as_json else click.echo(printable(job["jobId"]))
        return
    _report(client, _wait_for_end(client, job["jobId"], with_logs), as_json)


def _warn(message: str) -> None:
    click.echo(f"Warning: {printable(message)}", err=True)


def load_document(file: Path, rewrite: Callable[[Document], T]) -> T:
    """Read the document in `file` and rewrite its paths. Ends the command with the place of an error in it."""
    from functions.cli.document_file import read, refuse
    from functions.workflow.document import DocumentError

    try:
        return rewrite(read(file))
    except DocumentError as e:
        refuse(file, "workflow", e)


def start_job(
    client: Client,
    document: Document,
    workflow: Any,
    *,
    environment: str | None = None,
    agreement: str | None = None,
    owner: str | None = None,
    if_paused: Callable[[str], object],
) -> Any:
    """Submit `workflow` and return the job's status object.

    A missing argument is taken from the document, else from the server (its only environment) or the key (its address).
    `if_paused` gets a message if the environment starts no jobs.
    """
    request = document.request
    chosen = _environment(client, environment or request.get("environment"))
    if chosen.get("maxJobs") == 0:
        if_paused(f"environment {chosen['id']} is paused (its maxJobs is 0), so no job in it starts")
    return client.submit(
        workflow,
        environment=chosen["id"],
        agreement=agreement or request.get("agreementId") or "0x" + secrets.token_hex(32),
        owner=owner or request.get("owner") or client.address,
        chain=request.get("chainId"),
    )


def _wait_for_end(client: Client, job_id: str, with_logs: bool) -> Any:
    """Show the stages of a job on stderr until it has ended. Returns its last status object."""
    from functions.cli import terminal, watch

    job: Any = None
    held = False
    out = terminal.console(stderr=True)
    printing = _printing_log(client, job_id, out) if with_logs else nullcontext()
    try:
        with terminal.StageDisplay(out) as display, printing:
            for job in watch.follow(client, job_id):
                display.update(job)
                if watch.is_held(job) and not held:
                    out.print(terminal.text(f"  The results wait for a decision: sluice review {job_id}", "yellow"))
                held = watch.is_held(job)
    except KeyboardInterrupt:
        fail(f"the job continues; see `sluice status {job_id}`, or end it with `sluice stop {job_id}`", INTERRUPTED)
    return job


@contextmanager
def _printing_log(client: Client, job_id: str, out: Console) -> Iterator[None]:
    """Print the algorithm's log as it grows, beside the block, and its rest at the end."""
    from functions.cli import terminal
    from functions.cli.log_commands import follow, lines

    def print_log() -> None:
        try:
            for line in lines(follow(client, job_id, "algorithm")):
                terminal.print_log(out, line or b"\n")
        except click.ClickException as e:
            out.print(terminal.text(f"the log cannot be followed: {e.message}", "yellow"))

    printer = threading.Thread(target=print_log, name="log", daemon=True)
    printer.start()
    yield
    printer.join(_REST_OF_LOG)


def _environment(client: Client, wanted: str | None) -> Any:
    """The environment `wanted`, or the only one that the server offers."""
    offered = {str(environment["id"]): environment for environment in client.environments()}
    if not wanted and len(offered) == 1:
        return next(iter(offered.values()))
    names = ", ".join(offered) or "none"
    if not wanted:
        fail(f"choose an environment of {client.url} with --environment; it offers {names}")
    if wanted not in offered:
        fail(f"{client.url} has no environment {wanted}; it offers {names}")
    return offered[wanted]


def _report(client: Client, job: Any, as_json: bool) -> None:
    from functions.cli import terminal, watch

    console = terminal.console(stderr=True)
    if as_json:
        print_json(job)
    else:
        click.echo(printable(job["jobId"]))
        if watch.succeeded(job):
            console.print(terminal.coloured_state(job))
        else:
            terminal.print_failure(console, job, *watch.failed_stage_log(client, job))
        terminal.print_warnings(console, job)
    if not watch.succeeded(job):
        raise SystemExit(FAILED)
