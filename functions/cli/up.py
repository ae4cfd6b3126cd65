"""`sluice up`."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path

import click

from functions.cli.local_platform import LOG, interruptible, platform
from functions.cli.options import DEFAULT_URL


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8050, show_default=True, help="0 takes a free one.")
@click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    default=Path(".sluice"),
    show_default=True,
    help="Where everything lies. Started again on it, every workflow goes on.",
)
@click.option(
    "--environments",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="YAML file of the compute environments, instead of `ocean-compute`.",
)
@click.option("--require-isolation", is_flag=True, help="Refuse to start where algorithms cannot be shut in.")
@click.option("--log", default="", metavar="FILE", help=f"Its log, JSON lines; - is stderr.  [default: {LOG} in --dir]")
def up(port: int, folder: Path, environments: Path | None, require_isolation: bool, log: str) -> None:
    """Serve the whole API on this machine; no cluster is needed.

    Listens on 127.0.0.1 only, and takes whoever can reach it for its owner: no signature is checked against a list,
    and operators' routes are open. So a document may name any file that you can read (file: URLs) and any address
    that this machine reaches. --environments closes that: in your own file only what it allows by name is fetched
    (`file` in `fetch: schemes:`, `allowPrivateAddresses`). Ctrl-C stops it; what runs goes on at the next start.
    """
    try:
        with (
            interruptible(),
            platform(folder, log=log, port=port, environments=environments, require_isolation=require_isolation) as on,
        ):
            click.echo(f"Sluice is up at {on.url}")
            click.echo(f"  isolation  {on.isolation.text}")
            click.echo(f"  files      {folder.absolute()}")
            if environments is None:
                click.echo("  documents  may read every file that you can; sluice up --help says how to close that")
            url = "" if on.url == DEFAULT_URL else f" --url {on.url}"
            click.echo("\nTry it in another terminal:")
            click.echo(f"  curl -s {on.url}/api/v1/operator/environments")
            click.echo(f"  {called()} submit examples/penguins/workflow.json --wait{url}")
            while True:
                signal.pause()
    except KeyboardInterrupt:
        click.echo("\nstopped", err=True)


def called() -> str:
    """This command as it was called: it need not be on the PATH."""
    return shlex.quote(sys.argv[0]) if Path(sys.argv[0]).name == "sluice" else "sluice"
