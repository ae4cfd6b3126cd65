"""The command `sluice`. Light to start: each command imports what it needs when it runs."""

from __future__ import annotations

import atexit
import gc
from typing import Any

import click

from functions.cli.doctor import doctor
from functions.cli.errors import FAULT, INTERRUPTED, Failure
from functions.cli.job_commands import delete, environments, history, list_jobs, logs, status, stop
from functions.cli.operator_commands import dead_letters, migrate, sweep
from functions.cli.results_command import results
from functions.cli.run import run
from functions.cli.submit import submit
from functions.cli.up import up


class _Quiet(click.Group):
    """Shows a stack trace only when asked to."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except click.Abort:  # a question was not answered with yes
            click.echo("nothing was done", err=True)
            raise SystemExit(INTERRUPTED) from None
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as e:
            if ctx.params["debug"]:
                raise
            kind = type(e).__name__
            raise Failure(f"a fault of Sluice itself ({kind}); `sluice --debug …` shows where", FAULT) from None


@click.group(cls=_Quiet, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sluice-c2d", prog_name="sluice", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show stack traces.")
def main(debug: bool) -> None:
    """Compute-to-data: the algorithm travels to the data, only results leave.

    \b
    On this machine, with nothing else running:
      sluice run examples/penguins/workflow.json
    \b
    With a server, here (sluice up) or anywhere (--url, SLUICE_URL):
      sluice submit workflow.json --wait
      sluice results JOB --out results

    Every command ends with 0 if all went well, 1 if the workflow failed, 2 if it was used wrongly, 3 if the server
    does not answer; and with 130 after Ctrl-C, or when you did not say yes to a question.
    """
    # What is left at the end goes with the process; looking through all of it once more takes longer than a stage.
    atexit.register(gc.freeze)


for command in (
    run,
    up,
    submit,
    status,
    logs,
    results,
    stop,
    delete,
    list_jobs,
    environments,
    history,
    dead_letters,
    migrate,
    sweep,
    doctor,
):
    main.add_command(command)


if __name__ == "__main__":
    main()
