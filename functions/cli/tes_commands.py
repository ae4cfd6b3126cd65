"""`sluice tes`: tasks of GA4GH TES, on a server."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import click

from functions.cli.command_errors import FAILED, fail, printable
from functions.cli.options import THIS_MACHINE, checked_url, json_option, print_json, read_secret, url_option
from functions.cli.tes_run import local_urls, outputs_option, read_task, relative_urls, run

if TYPE_CHECKING:
    from functions.cli.options import F
    from functions.cli.tes_client import TesClient

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def tes_server_options(command: F) -> F:
    """Add --url and --token-file to a command, and pass it the `client` built from them."""

    @url_option
    @click.option(
        "--token-file",
        envvar="SLUICE_TOKEN_FILE",
        type=_FILE,
        help="File with your token; also SLUICE_TOKEN_FILE. `sluice up` needs none.",
    )
    @functools.wraps(command)
    def with_client(*args: Any, url: str, token_file: Path | None, **kwargs: Any) -> Any:
        from functions.cli.tes_client import TesClient

        client = TesClient(checked_url(url), read_secret(token_file) if token_file else "")
        return command(*args, client=client, **kwargs)

    return with_client  # type: ignore[return-value]


@click.group()
def tes() -> None:
    """Run and manage tasks of GA4GH TES.

    \b
    Examples:
      sluice tes run task.json
      sluice tes submit task.json --url https://sluice.example --token-file token
    """


tes.add_command(run)


@tes.command()
@click.argument("task", type=_FILE)
@outputs_option
@json_option
@tes_server_options
def submit(client: TesClient, task: Path, out: Path | None, as_json: bool) -> None:
    """Create the task that the file TASK describes. Prints its id.

    TASK is the JSON body of a POST to /ga4gh/tes/v1/tasks. For a server on this machine, a `url` of an input may be a
    path relative to TASK, a `url` of an output a path relative to --out. All else is sent as it is.

    \b
    Examples:
      sluice tes submit examples/tes/task.json
      sluice tes submit task.json --url https://sluice.example --token-file token
    """
    body = read_task(task)
    if urlsplit(client.url).hostname not in THIS_MACHINE:
        for _, path, _ in relative_urls(body):
            fail(
                f"{path}: expected an absolute URL such as s3://bucket/key; "
                f"{client.url} cannot reach files of this machine"
            )
    id = client.create(local_urls(body, task, out))
    if as_json:
        print_json({"id": id})
    else:
        click.echo(printable(id))


@tes.command()
@click.argument("id")
@click.option(
    "--view", type=click.Choice(["MINIMAL", "BASIC", "FULL"]), default="FULL", show_default=True, help="With --json."
)
@json_option
@tes_server_options
def get(client: TesClient, id: str, view: str, as_json: bool) -> None:
    """Show a task: its state, its executors and its outputs.

    \b
    Exit codes: 0 while the task runs and if it is COMPLETE, 1 if it ended otherwise, 2 if there is no such task.

    \b
    Examples:
      sluice tes get TASK
      sluice tes get TASK --json | jq '.logs[0].logs[].exit_code'
    """
    from functions.cli import tes_report
    from functions.cli.tes_client import has_ended

    task = client.task(id, view if as_json else "FULL")
    if as_json:
        print_json(task)
    else:
        tes_report.print_task(task)
    if has_ended(task) and task["state"] != "COMPLETE":
        raise SystemExit(FAILED)


@tes.command("list")
@click.option("--state", help="Only tasks in this state, such as RUNNING.")
@click.option("--name-prefix", help="Only tasks whose name begins so.")
@click.option("--tag", "tags", multiple=True, metavar="KEY[=VALUE]", help="Only tasks with this tag. May be repeated.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, help="At most so many.")
@json_option
@tes_server_options
def list_tasks(
    client: TesClient, state: str | None, name_prefix: str | None, tags: tuple[str, ...], limit: int, as_json: bool
) -> None:
    """List your tasks, newest first.

    \b
    Examples:
      sluice tes list --state RUNNING
      sluice tes list --tag project=penguins --json | jq -r '.[].id'
    """
    given = {"state": state, "name_prefix": name_prefix}
    filters = [(name, value) for name, value in given.items() if value]
    for tag in tags:
        key, _, value = tag.partition("=")
        filters += [("tag_key", key), ("tag_value", value)]
    found = list(client.tasks(limit, filters))
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no such tasks", err=True)
        return
    from functions.cli import tes_report

    tes_report.print_list(found)


@tes.command()
@click.argument("id")
@json_option
@tes_server_options
def cancel(client: TesClient, id: str, as_json: bool) -> None:
    """Cancel a task. One that has ended stays as it is.

    \b
    Example:
      sluice tes cancel TASK
    """
    client.cancel(id)
    task = client.task(id, "MINIMAL")
    if as_json:
        print_json(task)
    else:
        click.echo(printable(task["state"]))
