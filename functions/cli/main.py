"""The command `sluice`. Each command imports what it needs when it runs, so that `sluice --help` starts fast."""

from __future__ import annotations

import atexit
import gc
from typing import Any

import click

from functions.cli.doctor import doctor
from functions.cli.errors import INTERNAL_ERROR, INTERRUPTED, CommandError
from functions.cli.job_commands import delete, environments, history, list_jobs, logs, status, stop
from functions.cli.operator_commands import dead_letters, migrate, sweep
from functions.cli.results_command import results
from functions.cli.run import run
from functions.cli.submit import submit
from functions.cli.up import up

SECTIONS: dict[str, tuple[click.Command, ...]] = {
    "On this machine": (run, up, doctor),
    "Jobs on a server": (environments, submit, list_jobs, status, logs, results, stop, delete),
    "For operators": (history, dead_letters, migrate, sweep),
}


class _Main(click.Group):
    """Lists its commands in sections, and shows a stack trace only with --debug."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        room = formatter.width - 6 - max(map(len, self.commands))
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(str(command.name), command.get_short_help_str(room)) for command in commands])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except click.Abort:
            click.echo("Nothing was changed.", err=True)
            raise SystemExit(INTERRUPTED) from None
        except (click.ClickException, click.exceptions.Exit):
            raise
        except Exception as e:
            if ctx.params["debug"]:
                raise
            message = f"internal error in Sluice ({type(e).__name__}); run `sluice --debug …` to see the stack trace"
            raise CommandError(message, INTERNAL_ERROR) from None


@click.group(cls=_Main, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="sluice-c2d", prog_name="sluice", message="%(prog)s %(version)s")
@click.option("--debug", is_flag=True, help="Show stack traces.")
def main(debug: bool) -> None:
    """Compute-to-data: the algorithm travels to the data, and only its results leave.

    \b
    Run one workflow on this machine, without a server:
      sluice run examples/penguins/workflow.json

    \b
    Use a server. `sluice up` starts one here; --url or SLUICE_URL names another:
      sluice submit workflow.json --wait
      sluice results JOB --out results

    \b
    Exit codes:
      0    success
      1    the workflow, the download or the check failed
      2    wrong use: an option, a document or a request was refused
      3    the server, the database or the cluster does not answer
      70   internal error in Sluice; --debug shows where
      130  interrupted by Ctrl-C, or a question was not answered with yes
    """
    atexit.register(gc.freeze)  # skips the final garbage collection, which takes 150 ms


for command in (command for commands in SECTIONS.values() for command in commands):
    main.add_command(command)


if __name__ == "__main__":
    main()
