"""`sluice top`: the environments and the workflows of a server, live on a terminal."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import click

from functions.cli.command_errors import printable
from functions.cli.options import json_option, print_json, server_options

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

    from functions.cli.api_client import Client

_ROWS_BESIDE = 6  # of the screen, that no table's rows take
_ENVIRONMENTS = ["environment", "slots", "running", "queued", "held"]
_WORKFLOWS = ["job", "environment", "state", "phase", "reason", "age", "owner"]
_WIDE = 110  # characters of a line; a narrower screen has no room for _ONLY_WIDE
_ONLY_WIDE = ("environment", "owner")  # columns of _WORKFLOWS


@click.command()
@click.option(
    "--interval", type=click.FloatRange(0.5, 3600), default=2, show_default=True, help="Seconds between two updates."
)
@click.option("--once", is_flag=True, help="Print one table and end, as without a terminal.")
@json_option
@server_options
def top(client: Client, interval: float, once: bool, as_json: bool) -> None:
    """Show the environments and what is unfinished, again and again until Ctrl-C.

    Operators see all workflows, the newest 50 first. Others see the environments and their own jobs.

    \b
    Examples:
      sluice top
      sluice top --once --url https://sluice.example --admin-file admin.txt
    """
    from functions.cli import terminal

    if as_json:
        print_json(read(client))
        return
    out = terminal.console()
    if once or not out.is_terminal:
        _print_once(out, read(client))
        return
    try:
        _show(out, client, interval)
    except KeyboardInterrupt:
        return  # the usual end


def read(client: Client) -> dict[str, Any]:
    """Return what is shown: `environments`, `freezes` and `workflows`. Raises ApiError and ServerUnavailable."""
    from functions.cli.http_client import ApiError

    if client.operator:
        try:
            overview = client.console_page("/overview")
            return {**overview, "workflows": client.console_page("/workflows", state="active")["workflows"]}
        except ApiError as e:
            if e.status not in (400, 401, 403):
                raise
            client.operator = False
    return {
        "environments": [_offered(each) for each in client.environments()],
        "freezes": [],
        "workflows": [_own(job) for job in client.jobs() if job.get("dateFinished") is None],
    }


def _offered(environment: Mapping[str, Any]) -> dict[str, Any]:
    """An environment as everybody sees it: without the number of workflows that wait."""
    return {"id": environment["id"], "slots": environment["maxJobs"], "running": environment["currentJobs"]}


def _own(job: Mapping[str, Any]) -> dict[str, Any]:
    waiting = job.get("waiting") or {}
    return {
        "id": job["jobId"],
        "owner": job["owner"],
        "state": "queued" if job["status"] == 1 else "running",
        "phase": str(job["statusText"]).strip(),
        "reason": waiting.get("reason", ""),
        "created": job["dateCreated"],
    }


def _show(out: Console, client: Client, interval: float, pause: Callable[[float], object] = time.sleep) -> None:
    """Redraw until an exception ends it. Waits for a server that does not answer for a while."""
    from rich.live import Live

    from functions.cli import terminal
    from functions.cli.http_client import ApiError, ServerUnavailable

    shown = read(client)
    trouble = ""
    with Live(console=out, screen=True, auto_refresh=False) as live:
        while True:
            live.update(_screen(shown, client.url, trouble, *out.size), refresh=True)
            pause(interval)
            try:
                shown, trouble = read(client), ""
            except (ApiError, ServerUnavailable) as e:
                if isinstance(e, ApiError) and e.status < 500:
                    raise
                trouble = terminal.text(e.message).plain


def _screen(shown: Mapping[str, Any], url: str, trouble: str, width: int, height: int) -> RenderableType:
    from rich.console import Group

    from functions.cli import terminal

    room = max(1, height - _ROWS_BESIDE - len(shown["environments"]))
    kept = [at for at, name in enumerate(_WORKFLOWS) if width >= _WIDE or name not in _ONLY_WIDE]
    workflows = shown["workflows"]
    rows = [[row[at] for at in kept] for row in _workflow_rows(workflows[:room])]
    hidden = len(workflows) - room
    head = terminal.text(f"Sluice at {url}, {time.strftime('%H:%M:%S')}", "bold")
    return Group(
        head,
        terminal.text(trouble or _summary(shown), "red" if trouble else "dim"),
        terminal.table(_ENVIRONMENTS, _environment_rows(shown), right=_ENVIRONMENTS[1:], whole="environment"),
        terminal.text(""),
        terminal.table([_WORKFLOWS[at] for at in kept], rows, right=["age"], whole="job"),
        terminal.text(f"… and {hidden} more" if hidden > 0 else "", "dim"),
    )


def _print_once(out: Console, shown: Mapping[str, Any]) -> None:
    from functions.cli import terminal

    if shown["freezes"]:
        scopes = ", ".join(printable(each["scope"]) for each in shown["freezes"])
        click.echo(f"frozen: {scopes}; nothing of it is published, released or downloaded", err=True)
    out.print(terminal.table(_ENVIRONMENTS, _environment_rows(shown), right=_ENVIRONMENTS[1:]))
    out.print()
    out.print(terminal.table(_WORKFLOWS, _workflow_rows(shown["workflows"]), right=["age"]))


def _summary(shown: Mapping[str, Any]) -> str:
    names = ("running", "queued", "held")
    counts = {name: [each.get(name) for each in shown["environments"]] for name in names}
    told = ", ".join(f"{sum(n for n in found if isinstance(n, int))} {name}" for name, found in counts.items())
    frozen = len(shown["freezes"])
    return f"{told}, {frozen} frozen" if frozen else told


def _environment_rows(shown: Mapping[str, Any]) -> Sequence[Sequence[object]]:
    names = ("id", "slots", "running", "queued", "held")
    return [[each.get(name, "–") for name in names] for each in shown["environments"]]


def _workflow_rows(workflows: Sequence[Mapping[str, Any]]) -> Sequence[Sequence[object]]:
    from functions.cli import terminal

    colours = {"running": "cyan", "queued": "dim", "held": "yellow"}
    return [
        [
            each["id"],
            each.get("environment", ""),
            terminal.text(each["state"], colours.get(str(each["state"]), "")),
            f"{each['phase']}{_again(each)}",
            each["reason"],
            age(time.time() - float(each["created"])),
            each["owner"],
        ]
        for each in workflows
    ]


def _again(workflow: Mapping[str, Any]) -> str:
    attempt = workflow.get("attempt") or 0
    return f" (attempt {attempt})" if isinstance(attempt, int) and attempt > 1 else ""


def age(seconds: float) -> str:
    """A time in its two largest units: `2 d 3 h`, `5 min 10 s`."""
    parts: list[str] = []
    left = max(0, int(seconds))
    for unit, size in (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1)):
        count, left = divmod(left, size)
        if count or parts or unit == "s":
            parts.append(f"{count} {unit}")
    return " ".join(parts[:2])
