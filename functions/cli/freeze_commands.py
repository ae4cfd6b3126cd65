"""The commands with which operators stop what leaves: freeze, unfreeze and revoke."""

from __future__ import annotations

import shlex
from typing import TYPE_CHECKING

import click

from functions.cli.options import json_option, print_answer, server_options

if TYPE_CHECKING:
    from functions.cli.api_client import Client


@click.command()
@click.argument("scope")
@click.option("--reason", default="", help="Why; shown to operators.")
@json_option
@server_options
def freeze(client: Client, scope: str, reason: str, as_json: bool) -> None:
    """Stop publishing, releasing and downloading for SCOPE until `sluice unfreeze`.

    SCOPE is `all`, `environment:ID`, or `data:` and a DID or a URL prefix.

    \b
    Example:
      sluice freeze data:did:op:penguins --reason "consent withdrawn" --admin-file admin.txt
    """
    until = f"sluice unfreeze {shlex.quote(scope)}"
    told = f"Frozen: {scope}. Nothing of it is published, released or downloaded until `{until}`."
    print_answer(client.freeze(scope, reason), told, as_json)


@click.command()
@click.argument("scope")
@json_option
@server_options
def unfreeze(client: Client, scope: str, as_json: bool) -> None:
    """Lift the freeze of SCOPE.

    \b
    Example:
      sluice unfreeze all --admin-file admin.txt
    """
    told = f"No longer frozen: {scope}. What waited goes on within about a minute."
    print_answer(client.unfreeze(scope), told, as_json)


@click.command()
@click.argument("job")
@json_option
@server_options
def revoke(client: Client, job: str, as_json: bool) -> None:
    """Take back the results of a finished job.

    They are removed, and downloads answer 410.

    \b
    Example:
      sluice revoke JOB --admin-file admin.txt
    """
    answer = client.revoke(job)
    gone = "are being removed" if answer.get("verdict") == "applied" else "were removed before"
    print_answer(answer, f"The results of job {job} {gone}; downloads answer 410.", as_json)
