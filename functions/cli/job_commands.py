"""Commands about jobs on a server: status, logs, stop, delete, list, environments, history."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from functions.cli.errors import FAILED
from functions.cli.options import json_option, owner_option, print_json, talks
from functions.workflow.model import Stage

if TYPE_CHECKING:
    from functions.cli.api_client import Client


@click.command()
@click.argument("job")
@json_option
@talks
def status(client: Client, job: str, as_json: bool) -> None:
    """Show where JOB stands. Ends with 1 if it has failed or was stopped."""
    from functions.cli import terminal, watch

    seen = client.job(job)
    seen |= {} if watch.over(seen) else watch.progress(client, job)
    if as_json:
        print_json(seen)
    else:
        out = terminal.console()
        for name, value in _about(seen):
            out.print(f"{name:<10}", value, markup=False)
    if watch.over(seen) and not watch.went_well(seen):
        raise SystemExit(FAILED)


@click.command()
@click.argument("job")
@click.option("--stage", type=click.Choice([stage.value for stage in Stage]), default="algorithm", show_default=True)
@json_option
@talks
def logs(client: Client, job: str, stage: str, as_json: bool) -> None:
    """Print what a stage of JOB has printed so far.

    Operators see all stages, also while they run. Others see the algorithm's log once it is published;
    where results are filtered, it never is.
    """
    from functions.cli.api_client import Refused

    try:
        text = client.log(job, stage)
    except Refused as e:
        if e.status not in (400, 401) or stage != Stage.ALGORITHM:
            raise
        text = _published_log(client, job)
    if as_json:
        print_json({"jobId": job, "stage": stage, "log": text.decode(errors="replace")})
    else:
        _write(text)


@click.command()
@click.argument("job")
@json_option
@talks
def stop(client: Client, job: str, as_json: bool) -> None:
    """Stop JOB. What it has computed so far is published, and its logs."""
    _answer(client.stop(job, client.job(job)["owner"]), as_json)


@click.command()
@click.argument("job")
@click.confirmation_option("--yes", prompt="Stop the job and remove its results for ever?", help="Do not ask.")
@json_option
@talks
def delete(client: Client, job: str, as_json: bool) -> None:
    """Stop JOB if it runs, and remove its results. What happened stays on record."""
    _answer(client.delete(job, client.job(job)["owner"]), as_json)


@click.command("list")
@owner_option
@click.option("--running", is_flag=True, help="What runs now, of all owners; for operators.")
@json_option
@talks
def list_jobs(client: Client, owner: str | None, running: bool, as_json: bool) -> None:
    """List your jobs, newest first."""
    from functions.cli import terminal

    found = client.running() if running else client.jobs(owner)
    if as_json:
        print_json(found)
        return
    if not found:
        click.echo("nothing runs" if running else f"no jobs of {owner or client.address}", err=True)
        return
    rows = [(job["jobId"], terminal.state(job), terminal.moment(job["dateCreated"]), _seconds(job)) for job in found]
    terminal.console().print(terminal.table(["job", "status", "created", "took"], rows, right=["took"]))


@click.command()
@json_option
@talks
def environments(client: Client, as_json: bool) -> None:
    """List the compute environments that the server offers."""
    from functions.cli import terminal

    found = client.environments()
    if as_json:
        print_json(found)
        return
    rows = [
        (
            each["id"],
            each["cpuNumber"],
            f"{each['ramGB']} GB",
            each["gpuNumber"],
            f"{each['maxJobDuration']} s",
            f"{each['currentJobs']} of {each['maxJobs']}",
            each["desc"],
        )
        for each in found
    ]
    columns = ["environment", "cpus", "memory", "gpus", "longest", "running", ""]
    terminal.console().print(terminal.table(columns, rows, right=columns[1:6]))


@click.command()
@click.argument("job")
@json_option
@talks
def history(client: Client, job: str, as_json: bool) -> None:
    """Show what befell JOB: every step, when, and which event caused it. For operators."""
    from functions.cli import terminal

    found = client.history(job)
    if as_json:
        print_json(found)
        return
    rows = [
        (line["step"], terminal.moment(line["at"]), line["event"], line["after"], line["reason"], line["cause"])
        for line in found
    ]
    columns = ["step", "at", "what happened", "then", "reason", "cause"]
    terminal.console().print(terminal.table(columns, rows, right=["step"]))


def _about(seen: Any) -> list[tuple[str, Any]]:
    from functions.cli import terminal

    details = seen.get("terminationDetails") or {}
    lines = [
        ("job", seen["jobId"]),
        ("status", terminal.state(seen)),
        ("progress", terminal.progress(seen.get("progress"))),
        ("waits for", terminal.clean(seen.get("waiting") or "")),
        ("reason", terminal.clean(seen.get("reason") or "")),
        ("exit code", "" if details.get("exitCode") is None else str(details["exitCode"])),
        ("created", terminal.moment(seen["dateCreated"])),
        ("finished", terminal.moment(seen["dateFinished"]) if seen["dateFinished"] else ""),
        ("results", str(len(seen["results"])) if seen["results"] else ""),
    ]
    return [(name, value) for name, value in lines if value]


def _answer(seen: Any, as_json: bool) -> None:
    from functions.cli import terminal

    if as_json:
        print_json(seen)
    else:
        terminal.console().print(terminal.state(seen))


def _published_log(client: Client, job: str) -> bytes:
    from functions.cli.api_client import Refused

    seen = client.job(job)
    for index, file in enumerate(seen["results"] or []):
        if file["type"] == "algorithmLog":
            with client.result(job, seen["owner"], index) as answer:
                return bytes(answer.read())
    raise Refused(404, f"the algorithm's log of job {job} is not published (yet); an operator can read it")


def _write(text: bytes) -> None:
    """To a program as it is; to a terminal without what would steer it."""
    if sys.stdout.isatty():
        from functions.cli.terminal import clean

        text = "".join(clean(line) + "\n" for line in text.decode(errors="replace").splitlines()).encode()
    click.echo(text, nl=False)


def _seconds(job: Any) -> str:
    if not job.get("dateFinished"):
        return "–"
    return f"{float(job['dateFinished']) - float(job['dateCreated']):.1f} s"
