"""`sluice up`: serves the whole API on this machine until Ctrl-C."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from functions.cli.local_platform import LOG, interruptible, running_platform, wait_for_signal
from functions.cli.options import CONSOLE, DEFAULT_URL, environments_option, json_option, print_json, show_option

if TYPE_CHECKING:
    from functions.local.platform import Platform


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8050, show_default=True, help="0 picks a free port.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".sluice"),
    show_default=True,
    help="Folder for the database, logs, working files and results.",
)
@environments_option
@click.option("--require-isolation", is_flag=True, help="Refuse to start if algorithms cannot be isolated.")
@show_option
@click.option("--log", default="", metavar="FILE", help=f"JSON log; - is stderr.  [default: {LOG} in --dir]")
@json_option
def up(
    port: int,
    folder: Path,
    environments: Path | None,
    require_isolation: bool,
    shown: tuple[Path, ...],
    log: str,
    as_json: bool,
) -> None:
    """Serve the whole API on this machine, without a cluster.

    The server listens on 127.0.0.1 only. Whoever can reach it may use all of it: it accepts every signature, and the
    operator's routes need no password. A document may name every file that you can read (file: URLs) and every
    address that this machine can reach. To restrict that, pass --environments: with a file of your own, only the
    schemes (`fetch.schemes`) and addresses (`allowPrivateAddresses`) that it allows are fetched.

    Ctrl-C stops the server. Running stages continue, and the next start on the same --dir carries on with them.

    \b
    Examples:
      sluice up
      sluice up --port 0 --dir /tmp/sluice --require-isolation
    """
    try:
        with (
            interruptible(),
            running_platform(
                folder,
                log=log,
                port=port,
                environments=environments,
                require_isolation=require_isolation,
                shown=shown,
            ) as platform,
        ):
            if as_json:
                about = {
                    "url": platform.url,
                    "console": platform.url + CONSOLE,
                    "isolation": platform.isolation.value,
                    "folder": str(folder.absolute()),
                }
                print_json({**about, "visible": platform.visible, "consumerAddress": platform.consumer_address})
            else:
                _introduce(platform, folder, environments is None)
            while True:
                wait_for_signal()
    except KeyboardInterrupt:
        click.echo("\nstopped", err=True)


def _introduce(platform: Platform, folder: Path, open_to_documents: bool) -> None:
    click.echo(f"Sluice is up at {platform.url}")
    click.echo(f"  console    {platform.url}{CONSOLE}")
    click.echo(f"  isolation  {platform.isolation.text}")
    click.echo(f"  files      {folder.absolute()}")
    visible = "all that the user of algorithms can read" if platform.visible is None else ", ".join(platform.visible)
    click.echo(f"  visible    to algorithms: {visible}")
    click.echo(f"  provider   {_provider(platform)}")
    if open_to_documents:
        click.echo("  documents  may read every file that you can read; see `sluice up --help`")
    url = "" if platform.url == DEFAULT_URL else f" --url {platform.url}"
    click.echo("\nTry it in another terminal:")
    click.echo(f"  curl -s {platform.url}/api/v1/operator/environments")
    click.echo(f"  {program_name()} submit examples/penguins/workflow.json --wait{url}")


def _provider(platform: Platform) -> str:
    """The line for the operator of a Provider in front of this platform."""
    if not platform.consumer_address:
        return "there is no operator key, so no Provider can serve data here; set OPERATOR_PRIVATE_KEY_FILE"
    made = f", its key is {platform.key_file}" if platform.key_file else ""
    return f"consumerAddress {platform.consumer_address}{made}"


def program_name() -> str:
    """The command that calls this program again: by the path it was called with, which need not be on the PATH."""
    return shlex.quote(sys.argv[0]) if Path(sys.argv[0]).name == "sluice" else "sluice"
