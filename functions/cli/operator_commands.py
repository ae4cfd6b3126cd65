"""Commands for operators: migrate and sweep use the settings of the functions (docs/settings.md)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import click

from functions.cli.command_errors import FAILED, UNAVAILABLE, fail, printable
from functions.cli.options import json_option, print_json, server_options

if TYPE_CHECKING:
    from functions.cli.api_client import Client
    from functions.engine.app import App
    from functions.workflow.model import Workflow


@contextmanager
def _explained_errors() -> Iterator[None]:
    """End the command with a message if a setting is wrong, or if the database or the cluster does not do its part."""
    from functions.cluster.kubernetes.access import NoCluster
    from functions.cluster.ports import ClusterError
    from functions.store.ports import RefusedStatement, StoreUnavailable
    from functions.variables import SettingsError

    try:
        yield
    except NoCluster as e:
        fail(str(e), UNAVAILABLE)
    except SettingsError as e:
        fail(str(e))
    except StoreUnavailable as e:
        fail(f"DATABASE_URL: {e}", UNAVAILABLE)
    except RefusedStatement as e:
        fail(f"DATABASE_URL: {e}")
    except ClusterError as e:
        fail(f"the cluster: {e}", UNAVAILABLE)


@click.command()
@json_option
def migrate(as_json: bool) -> None:
    """Create or upgrade the database of DATABASE_URL.

    Starts from an empty database, from operator-service's tables, or from an earlier version of Sluice. Running it
    again changes nothing. Run it before the functions of a new version start.

    \b
    Exit codes: 2 if DATABASE_URL is missing or the database refuses, 3 if it does not answer.

    \b
    Example:
      DATABASE_URL=postgresql://user:password@host/name sluice migrate
    """
    from functions.settings import Settings

    with _explained_errors():
        from functions.store.migrate import migrate

        applied = migrate(Settings.load().database)
    if as_json:
        print_json(applied)
    else:
        click.echo("\n".join(f"applied {name}" for name in applied) or "the database is up to date")


@click.command()
@click.option(
    "--dir",
    "folder",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The folder of a `sluice up`: use its database, Jobs and results.",
)
@json_option
def sweep(folder: Path | None, as_json: bool) -> None:
    """Do now what the function `advance` does on each tick.

    Moves on workflows whose events were lost, applies deadlines, and removes what is left over. Safe at any time, also
    while the functions run.

    Needs the settings of `advance`. On a laptop, name the folder of `sluice up` with --dir instead. If that `sluice up`
    has --environments, set ENVIRONMENTS_FILE to the same file.

    \b
    Exit codes: 1 if something failed (see the log), 2 if a setting is missing or wrong, 3 if the database or the
    cluster does not answer.

    \b
    Example:
      sluice sweep --json
      sluice sweep --dir .sluice
    """
    if folder is not None:
        _use_folder(folder)
    with _explained_errors():
        from functions.advance import sweep as sweeping
        from functions.engine.app import current_app
        from functions.engine.sweep_settings import check_signer

        app = current_app()
        check_signer(app.settings)
        _ask_database_and_cluster(app)
        repaired = dict(sweeping.sweep(app))
    if as_json:
        print_json(repaired)
    else:
        click.echo("\n".join(f"{what}: {count}" for what, count in repaired.items()) or "nothing was due")
    if repaired.get("failed"):
        raise SystemExit(FAILED)


@click.command()
@click.argument("job")
@click.confirmation_option(
    "--yes",
    prompt="Delete the owner, the document and all else that is recorded of the job?",
    help="Do not ask for confirmation.",
)
@json_option
def forget(job: str, as_json: bool) -> None:
    """Delete all that is recorded of JOB, except its history.

    It is deleted from the database of DATABASE_URL. The history holds only digests, and the key of those that could be
    guessed is deleted too. Its chain, its place in the log, and earlier crates and statements stay provable. The job
    must have ended, its results must be removed, and a sweep must have put its last steps into the log.

    \b
    Exit codes: 1 if the job cannot be forgotten yet, 2 if there is no such job or DATABASE_URL is missing, 3 if the
    database does not answer, 130 if the question was not answered with yes.

    \b
    Examples:
      DATABASE_URL=postgresql://user:password@host/name sluice forget JOB
      DATABASE_URL=sqlite:///$PWD/.sluice/sluice.db sluice forget JOB  # a job of `sluice up`
    """
    from functions.settings import Settings
    from functions.workflow.model import WorkflowId

    with _explained_errors():
        from functions.store.sql import SqlStore

        with closing(SqlStore(Settings.load().database)) as store:
            gone = store.forget(WorkflowId(job))
            left = None if gone else store.state(WorkflowId(job))
    if not gone:
        _refuse_to_forget(job, left)
    if as_json:
        print_json({"forgotten": job})
    else:
        click.echo(f"forgotten: {printable(job)}")


def _refuse_to_forget(job: str, state: Workflow | None) -> NoReturn:
    if state is None:
        fail(f"the database has no job {printable(job)}; perhaps it was forgotten already")
    if not state.finished:
        why = "it has not ended; wait, or call `sluice stop`"
    elif not (state.removed or state.expired):
        why = "it still has results; call `sluice delete` first"
    else:
        why = "its last steps are not in the log yet; try again after the next sweep, or call `sluice sweep`"
    fail(f"job {printable(job)} cannot be forgotten yet: {why}", FAILED)


def _use_folder(folder: Path) -> None:
    """Set the environment variables for a folder of `sluice up`."""
    from functions.local.platform import DATABASE, ENVIRONMENTS, folder_variables

    if not (folder / DATABASE).is_file():
        fail(f"--dir: {folder} is not a folder of `sluice up`: it has no {DATABASE}")
    environments = Path(os.environ.get("ENVIRONMENTS_FILE") or ENVIRONMENTS)
    os.environ.update(folder_variables(folder.resolve(), environments, {*os.environ}))


def _ask_database_and_cluster(app: App) -> None:
    """Raise an error if one of them does not answer, because a sweep would only log that for the cluster."""
    app.store.queues()
    for namespace in {environment.namespace for environment in app.environments.values()}:
        app.cluster.orphans(namespace, 1)


@click.command("dead-letters")
@click.option("--limit", type=click.IntRange(1, 1000), default=50, show_default=True, help="How many, newest first.")
@json_option
@server_options
def dead_letters(client: Client, limit: int, as_json: bool) -> None:
    """List events that could not be delivered or handled.

    \b
    Example:
      sluice dead-letters --limit 10 --admin-file admin.txt
    """
    from functions.cli import terminal

    letters = client.dead_letters(limit)
    if as_json:
        print_json(letters)
        return
    if not letters:
        click.echo("no dead letters", err=True)
        return
    columns = list(letters[0])
    rows = ([letter.get(column, "") for column in columns] for letter in letters)
    terminal.console().print(terminal.table(columns, rows))
