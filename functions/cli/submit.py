"""`sluice submit`, and what submitting has in common with `sluice run`."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from functions.cli.errors import FAILED, INTERRUPTED, fail
from functions.cli.options import json_option, owner_option, print_json, talks

if TYPE_CHECKING:
    from functions.cli.api_client import Client
    from functions.cli.document_file import Document

T = TypeVar("T")


@click.command()
@click.argument("document", type=click.Path(path_type=Path))
@click.option("--environment", help="The compute environment; needed where the server has several.")
@click.option("--agreement", metavar="ID", help="The agreementId; by default the document's, or a new one.")
@click.option("--wait", is_flag=True, help="Stay until it has ended, and end with 1 if it failed.")
@owner_option
@json_option
@talks
def submit(
    client: Client,
    document: Path,
    environment: str | None,
    agreement: str | None,
    wait: bool,
    owner: str | None,
    as_json: bool,
) -> None:
    """Submit the workflow DOCUMENT to a server and print the job's id.

    DOCUMENT is Ocean's {"stages": […]} or the whole body of a POST to /compute. An algorithm whose `url` is a path
    relative to DOCUMENT is sent along as `rawcode`; a data set with such a `url` becomes a file: URL, which only a
    server on this machine can fetch.

    \b
      sluice submit workflow.json --wait
      job=$(sluice submit workflow.json)
    """
    wanted = checked(document, lambda read: (read, read.standalone()))
    job = start(client, *wanted, environment=environment, agreement=agreement, owner=owner)
    if not wait:
        print_json(job) if as_json else click.echo(job["jobId"])
        return
    seen = attend(client, job["jobId"], quiet=as_json)
    _conclude(client, seen, as_json)


def checked(file: Path, rewrite: Callable[[Document], T]) -> T:
    """What `rewrite` makes of the document in `file`; ends the command with the place and the fault of a bad one."""
    from functions.cli.document_file import read, spoken
    from functions.workflow.document import DocumentError

    try:
        return rewrite(read(file))
    except DocumentError as e:
        fail(f"{file} is not a workflow that can run\n  at        {e.path}\n  expected  {spoken(e.expected)}")


def start(
    client: Client,
    document: Document,
    workflow: Any,
    *,
    environment: str | None = None,
    agreement: str | None = None,
    owner: str | None = None,
) -> Any:
    """Submit; the status object. What is not given is taken from the document, then from the server and the key."""
    from functions.cli.api_client import Refused

    request = document.request
    chosen = environment or request.get("environment") or _only_environment(client)
    try:
        return client.submit(
            workflow,
            environment=chosen,
            agreement=agreement or request.get("agreementId") or "0x" + secrets.token_hex(32),
            owner=owner or request.get("owner") or client.address,
            chain=request.get("chainId"),
        )
    except Refused as e:
        if e.status == 400 and chosen not in (offered := _offered(client)):
            fail(f"no environment {chosen} at {client.url}; it offers {', '.join(offered) or 'none'}")
        raise


def attend(client: Client, job: str, *, quiet: bool) -> Any:
    """Show the stages of a job until it has ended; what is known of it then."""
    from functions.cli import terminal, watch

    seen: Any = None
    try:
        if quiet:
            *_, seen = watch.follow(client, job)
        else:
            with terminal.Stages(terminal.console(stderr=True)) as stages:
                for seen in watch.follow(client, job):
                    stages.update(seen)
    except KeyboardInterrupt:
        fail(f"it goes on without you: sluice status {job}, sluice stop {job}", INTERRUPTED)
    return seen


def _offered(client: Client) -> list[str]:
    return [str(environment["id"]) for environment in client.environments()]


def _only_environment(client: Client) -> str:
    offered = _offered(client)
    if len(offered) != 1:
        fail(f"choose one with --environment: {', '.join(offered) or 'the server offers none'}")
    return offered[0]


def _conclude(client: Client, seen: Any, as_json: bool) -> None:
    from functions.cli import terminal, watch

    console = terminal.console(stderr=True)
    if as_json:
        print_json(seen)
    else:
        click.echo(seen["jobId"])
        if watch.went_well(seen):
            console.print(terminal.state(seen))
        else:
            terminal.failure(console, seen, *watch.telling_log(client, seen))
    if not watch.went_well(seen):
        raise SystemExit(FAILED)
