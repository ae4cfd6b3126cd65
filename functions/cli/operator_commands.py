"""Commands for operators: they use the settings of the functions (docs/settings.md), or ask a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from functions.cli.errors import NO_SERVER, fail
from functions.cli.options import json_option, print_json, talks

if TYPE_CHECKING:
    from functions.cli.api_client import Client


@click.command()
@json_option
def migrate(as_json: bool) -> None:
    """Bring the database of DATABASE_URL up to date.

    From nothing, from operator-service's tables, or from an earlier version; a second time does nothing. Run it before
    the functions of a new version start.
    """
    from functions.settings import Settings, SettingsError
    from functions.store.ports import RefusedStatement, StoreUnavailable

    try:
        from functions.store.migrate import migrate

        applied = migrate(Settings.load().database)
    except SettingsError as e:
        fail(str(e))
    except StoreUnavailable as e:
        fail(f"DATABASE_URL: {e}", NO_SERVER)
    except RefusedStatement as e:
        fail(f"DATABASE_URL: {e}")
    if as_json:
        print_json(applied)
    else:
        click.echo("\n".join(f"applied {name}" for name in applied) or "the database is up to date")


@click.command()
@json_option
def sweep(as_json: bool) -> None:
    """Do by hand what each tick does: finish what no event announced, and tidy up.

    Needs the settings of the function `advance`. Safe at any time, also beside the function.
    """
    from functions.cluster.ports import ClusterError
    from functions.settings import SettingsError
    from functions.store.ports import StoreUnavailable

    try:
        from functions.advance import sweep as sweeping
        from functions.engine.app import current_app

        repaired = dict(sweeping.sweep(current_app()))
    except SettingsError as e:
        fail(str(e))
    except StoreUnavailable:
        fail("the database of DATABASE_URL does not answer; is it migrated (sluice migrate)?", NO_SERVER)
    except ClusterError:
        fail("the cluster does not answer", NO_SERVER)
    if as_json:
        print_json(repaired)
    else:
        click.echo("\n".join(f"{what}: {count}" for what, count in repaired.items()) or "nothing was due")


@click.command("dead-letters")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many, newest first.")
@json_option
@talks
def dead_letters(client: Client, limit: int, as_json: bool) -> None:
    """List the events that could not be handled."""
    from functions.cli import terminal

    found = client.dead_letters(limit)
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("no event was given up")
        return
    columns = list(found[0])
    terminal.console().print(
        terminal.table(columns, ([letter.get(column, "") for column in columns] for letter in found))
    )
