"""Commands about jobs on a server: status, stop, delete, list, environments, history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from functions.cli.command_errors import FAILED
from functions.cli.options import json_option, owner_option, print_json, server_options

if TYPE_CHECKING:
    from functions.cli.api_client import Client


@click.command()
@click.argument("job")
@json_option
@server_options
def status(client: Client, job: str, as_json: bool) -> None:
    """Show the state of a job.

    \b
    Exit codes: 0 while the job runs and if it succeeded, 1 if it failed or was stopped, 2 if there is no such job.

    \b
    Example:
      sluice status JOB --json
    """
    from functions.cli import terminal, watch

    found = client.job(job)
    found |= {} if watch.has_ended(found) else watch.running_details(client, job)
    if as_json:
        print_json(found)
    else:
        out = terminal.console()
        for name, value in _status_lines(found):
            out.print(f"{name:<11}", value)
        terminal.print_warnings(out, found)
    if watch.has_ended(found) and not watch.succeeded(found):
        raise SystemExit(FAILED)


@click.command()
@click.argument("job")
@json_option
@server_options
def stop(client: Client, job: str, as_json: bool) -> None:
    """Stop a job, and publish what it has so far.

    \b
    Example:
      sluice stop JOB
    """
    _print_state(client.stop(job, client.job(job)["owner"]), as_json)


@click.command()
@click.argument("job")
@click.confirmation_option(
    "--yes", prompt="Stop the job, and remove its results permanently?", help="Do not ask for confirmation."
)
@json_option
@server_options
def delete(client: Client, job: str, as_json: bool) -> None:
    """Stop a job and remove its results.

    The job's record and history are kept.

    \b
    Exit codes: 130 if the question was not answered with yes; then nothing was changed.

    \b
    Example:
      sluice delete JOB --yes
    """
    _print_state(client.delete(job, client.job(job)["owner"]), as_json)


@click.command("list")
@owner_option
@click.option("--running", is_flag=True, help="List the running jobs of all owners (for operators).")
@json_option
@server_options
def list_jobs(client: Client, owner: str | None, running: bool, as_json: bool) -> None:
    """List your jobs, newest first.

    \b
    Examples:
      sluice list
      sluice list --json | jq -r '.[].jobId'
    """
    from functions.cli import terminal

    jobs = client.running() if running else client.jobs(owner)
    if as_json:
        print_json(jobs)
        return
    if not jobs:
        click.echo("no jobs are running" if running else f"no jobs of {owner or client.address}", err=True)
        return
    rows = [
        (job["jobId"], terminal.coloured_state(job), terminal.format_time(job["dateCreated"]), _duration(job))
        for job in jobs
    ]
    terminal.console().print(terminal.table(["job", "status", "created", "took"], rows, right=["took"]))


@click.command()
@json_option
@server_options
def environments(client: Client, as_json: bool) -> None:
    """List the compute environments of a server.

    \b
    Example:
      sluice environments --url https://sluice.example
    """
    from functions.cli import terminal

    offered = client.environments()
    if as_json:
        print_json(offered)
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
        for each in offered
    ]
    columns = ["environment", "cpus", "memory", "gpus", "time limit", "running", "description"]
    terminal.console().print(terminal.table(columns, rows, right=columns[1:6]))


@click.command()
@click.argument("job")
@json_option
@server_options
def history(client: Client, job: str, as_json: bool) -> None:
    """Show every step of a job, with its time and cause.

    \b
    Example:
      sluice history JOB --admin-file admin.txt
    """
    from functions.cli import terminal

    entries = client.history(job)
    if as_json:
        print_json(entries)
        return
    rows = [
        (
            entry["step"],
            terminal.format_time(entry["at"]),
            entry["event"],
            entry["after"],
            entry["reason"],
            entry["cause"],
        )
        for entry in entries
    ]
    columns = ["step", "time", "event", "new phase", "reason", "cause"]
    terminal.console().print(terminal.table(columns, rows, right=["step"]))


def _status_lines(job: Any) -> list[tuple[str, Any]]:
    from functions.cli import terminal, watch

    details = job.get("terminationDetails") or {}
    lines = [
        ("job", terminal.text(job["jobId"])),
        ("status", terminal.coloured_state(job)),
        ("progress", terminal.text(terminal.format_progress(job.get("progress")))),
        ("waiting for", terminal.text(terminal.format_waiting(job.get("waiting")))),
        ("held", terminal.text(f"until a decision: sluice review {job['jobId']}" if watch.is_held(job) else "")),
        ("queue position", terminal.text(job.get("queuePosition", ""))),
        ("reason", terminal.text(job.get("reason") or "")),
        ("exit code", terminal.text("" if details.get("exitCode") is None else details["exitCode"])),
        ("created", terminal.format_time(job["dateCreated"])),
        ("finished", terminal.format_time(job["dateFinished"]) if job["dateFinished"] else ""),
        ("results", str(len(job["results"])) if job["results"] else ""),
    ]
    return [(name, value) for name, value in lines if value]


def _print_state(job: Any, as_json: bool) -> None:
    from functions.cli import terminal

    if as_json:
        print_json(job)
    else:
        terminal.console().print(terminal.coloured_state(job))


def _duration(job: Any) -> str:
    if not job.get("dateFinished"):
        return "–"
    return f"{float(job['dateFinished']) - float(job['dateCreated']):.1f} s"
