"""The command `sluice`. It imports the module of the command that is called, and each command imports what it needs."""

from __future__ import annotations

import atexit
import gc
from importlib import import_module
from typing import Any

import click

from functions.cli.command_errors import INTERNAL_ERROR, INTERRUPTED, CommandError

# Objects made by imports are never freed. Collecting them again and again takes a tenth of `sluice run`.
gc.set_threshold(10_000)

# The sections of the help text, and for each command its module and its name there.
SECTIONS: dict[str, dict[str, str]] = {
    "On this machine": {"run": "run:run", "up": "up:up", "doctor": "doctor:doctor"},
    "Jobs on a server": {
        "environments": "job_commands:environments",
        "submit": "submit:submit",
        "list": "job_commands:list_jobs",
        "status": "job_commands:status",
        "logs": "log_commands:logs",
        "results": "results_command:results",
        "stop": "job_commands:stop",
        "delete": "job_commands:delete",
        "console": "console_command:console",
        "top": "top_command:top",
    },
    "Tasks of GA4GH TES": {"tes": "tes_commands:tes"},
    "Review held results": {
        "held": "review_commands:held",
        "review": "review_commands:review",
        "release": "review_commands:release",
        "reject": "review_commands:reject",
        "freeze": "freeze_commands:freeze",
        "unfreeze": "freeze_commands:unfreeze",
        "revoke": "freeze_commands:revoke",
        "policy": "policy_command:policy",
    },
    "Proofs": {"crate": "proof_commands:crate", "verify": "proof_commands:verify"},
    "For operators": {
        "history": "job_commands:history",
        "dead-letters": "operator_commands:dead_letters",
        "token": "token_command:token",
        "migrate": "operator_commands:migrate",
        "sweep": "operator_commands:sweep",
        "forget": "operator_commands:forget",
    },
}
_COMMANDS = {name: target for section in SECTIONS.values() for name, target in section.items()}


class _Main(click.Group):
    """Imports its commands when they are used, lists them in sections, and shows a stack trace only with --debug."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        if name not in _COMMANDS:
            return None
        module, attribute = _COMMANDS[name].split(":")
        command: click.Command = getattr(import_module(f"functions.cli.{module}"), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        room = formatter.width - 6 - max(map(len, _COMMANDS))
        for title, names in SECTIONS.items():
            commands = {name: self.get_command(ctx, name) for name in names}
            with formatter.section(title):
                formatter.write_dl([(name, each.get_short_help_str(room)) for name, each in commands.items() if each])

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise SystemExit(INTERRUPTED) from None
        except click.Abort:
            click.echo("Nothing was changed.", err=True)
            raise SystemExit(INTERRUPTED) from None
        except (click.ClickException, click.exceptions.Exit, BrokenPipeError):
            raise  # click ends quietly if the reader of stdout, such as `head`, has gone
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


if __name__ == "__main__":
    main()
