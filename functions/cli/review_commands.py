"""The review commands: list what is held, show files and findings, release and reject."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from functions.cli.command_errors import fail, printable
from functions.cli.options import json_option, print_answer, print_json, server_options

if TYPE_CHECKING:
    from functions.cli.api_client import Client


@click.command()
@json_option
@server_options
def held(client: Client, as_json: bool) -> None:
    """List results that wait for a decision, the earliest end first.

    A checker's key (--key-file) shows the jobs whose policy names it; an operator (--admin-file) sees all.
    Events that NOTIFY_HOLD_URL did not take are shown too; they are tried again.

    \b
    Example:
      sluice held --key-file checker.key
    """
    from functions.cli import terminal

    found = client.held()
    if as_json:
        print_json(found)
        return
    columns = ("job", "environment", "policy", "until", "findings", "approvals")
    rows = [
        (
            each["jobId"],
            each["environment"],
            ", ".join(each["policy"]),
            each["until"],
            f"{each['findings']} ({each['verdict']})",
            f"{each['approvals']['given']} of {each['approvals']['needed']}",
        )
        for each in found["held"]
    ]
    out = terminal.console()
    if rows:
        _print_rows(out, columns, rows)
    else:
        click.echo(f"nothing is held{client.seen_by}", err=True)
    for each in found["held"]:
        if failed := each.get("releaseFailed"):
            job, reason = printable(each["jobId"]), printable(failed["reason"])
            text = (
                f"release of {job} failed at {failed['at']}: {reason}; `sluice release {job} --again` tries once more"
            )
            out.print(terminal.text(text, "yellow"))
    for each in found["undelivered"]:
        event, about = printable(each["event"]), printable(each["about"])
        text = f"not delivered: {event} of {about}, since {each['since']} ({each['tries']} tries)"
        out.print(terminal.text(text, "yellow"))


@click.command()
@click.argument("job")
@click.option("--file", "index", type=int, help="Show this file, by its number.")
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="With --file: write the file there.")
@json_option
@server_options
def review(client: Client, job: str, index: int | None, out: Path | None, as_json: bool) -> None:
    """Show a held job: what ran, its files, what was found, the decisions so far.

    With --file the file itself is shown: a table or a text in part, a picture where the terminal can (kitty, Ghostty,
    iTerm2, WezTerm, mintty). --out writes it to a file instead, which must not exist yet. The server records each view
    of a file in the job's history.

    \b
    Examples:
      sluice review JOB --key-file checker.key
      sluice review JOB --file 0 --key-file checker.key
    """
    from functions.cli import terminal

    if out is not None and index is None:
        fail("--out: name the file with --file")
    found = client.held_job(job)
    if index is not None:
        _show_file(client, job, found, index, out)
        return
    if as_json:
        print_json(found)
        return
    screen = terminal.console()
    for line in _what_ran(found.get("ran") or {}):
        screen.print(terminal.text(line, "dim"))
    findings = {each["path"]: each["findings"] for each in (found["report"] or {"files": []})["files"]}
    for file in found["files"]:
        blocked = "  BLOCKED" if file["blocked"] else ""
        screen.print(
            terminal.text(f"{file['index']}  {printable(file['path'])}  {file['size']} bytes{blocked}", "bold")
        )
        screen.print(terminal.text(f"   sha256 {printable(file['sha256'])}", "dim"))
        for each in findings.get(file["path"], ()):
            found_by = ": ".join(printable(each[name]) for name in ("level", "rule", "text"))
            screen.print(terminal.text(f"   {found_by}"))
    for note in (found["report"] or {"notes": []})["notes"]:
        screen.print(terminal.text(f"note: {printable(note)}"))
    approvals = found["approvals"]
    if failed := found.get("releaseFailed"):
        screen.print(
            terminal.text(f"the last release failed at {failed['at']}: {printable(failed['reason'])}", "yellow")
        )
    for each in found["decisions"]:
        screen.print(terminal.text(_decided(each)))
    screen.print(terminal.text(f"until {found['until']}; {approvals['given']} of {approvals['needed']} approvals"))


def _what_ran(ran: dict[str, Any]) -> Iterator[str]:
    """What ran on what, by digest."""
    if ran.get("algorithm"):
        yield f"algorithm  sha256 {printable(ran['algorithm'])}"
    for image in ran.get("images", ()):
        yield f"image      {printable(image)}"
    for each in ran.get("inputs", ()):
        yield f"input      {printable(each['path'])}  {each['size']} bytes  sha256 {printable(each['sha256'])}"


def _decided(stored: dict[str, Any]) -> str:
    """One decision: who, when, what and why."""
    decision = json.loads(stored["text"])
    withheld = sum(file["verdict"] == "withhold" for file in decision["files"])
    but = f", {withheld} of {len(decision['files'])} files withheld" if decision["verdict"] == "release" else ""
    reason = f": {printable(decision['reason'])}" if decision["reason"] else ""
    return f"decided    {printable(stored['by'])} {printable(decision['verdict'])}{but}, {stored['at']}{reason}"


def _show_file(client: Client, job: str, found: dict[str, Any], index: int, out: Path | None) -> None:
    paths = {each["index"]: str(each["path"]) for each in found["files"]}
    if index not in paths:
        fail(f"job {job} holds no file {index}; `sluice review {job}` lists them")
    if out is None:
        _preview(paths[index], client.held_file(job, index), f"sluice review {job} --file {index} --out FILE")
        return
    try:
        with open(out, "xb", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write(client.held_file(job, index))
    except OSError as e:
        fail(f"--out: {out} cannot be written: {e.strerror}")


def _preview(path: str, content: bytes, to_file: str) -> None:
    """Show a file, or say how to see it."""
    from functions.cli import previews, terminal

    kind, screen = previews.kind_of(path), terminal.console()
    shows = previews.protocol(os.environ) if screen.is_terminal else None
    if (drawn := previews.picture(kind, content, shows)) is not None:
        sys.stdout.write(drawn)
    elif (rows := previews.table(kind, content)) is not None:
        (header, *others), left_out = rows
        _print_rows(screen, header, others)
        if left_out:
            screen.print(terminal.text(f"{left_out}; {len(content)} bytes in all", "dim"))
    elif (lines := previews.text(kind, content)) is not None:
        for line in lines:
            screen.print(terminal.text(line))
    else:
        viewer = ", then img2sixel FILE" if shows is previews.Protocol.SIXEL else ""
        screen.print(terminal.text(f"{path}: {len(content)} bytes, not shown here; see it with: {to_file}{viewer}"))


@click.command()
@click.argument("job")
@click.option("--withhold", "withheld", multiple=True, metavar="PATH", help="Withhold this file; may be repeated.")
@click.option("--reason", help="Why; it is signed, and kept with the decision. Required, except with --again.")
@click.option("--yes", is_flag=True, help="Do not ask before signing.")
@click.option("--again", is_flag=True, help="Try a decided release again after it failed; signs nothing.")
@json_option
@server_options
def release(
    client: Client, job: str, withheld: tuple[str, ...], reason: str | None, yes: bool, again: bool, as_json: bool
) -> None:
    """Sign a decision that releases the held files of a job.

    Files that --withhold names, and files that the checks block, stay in.

    The decision names each file by its sha256. It counts if the policy lists your key as a checker.

    \b
    Exit codes: 2 if the decision does not count, 130 if you do not confirm.

    \b
    Example:
      sluice release JOB --withhold outputs/chart.svg --reason "counts above 10" --key-file checker.key
    """
    if again:
        print_answer(client.release_again(job), f"The release of job {job} runs again.", as_json)
        return
    if reason is None:
        fail("--reason: say why the files may leave; it is signed, and kept with the decision")
    found = client.held_job(job)
    paths = [each["path"] for each in found["files"]]
    if unknown := sorted(set(withheld) - set(paths)):
        fail(f"--withhold: job {job} holds no file {unknown[0]}; `sluice review {job}` lists them")
    kept_in = {*withheld, *(each["path"] for each in found["files"] if each["blocked"])}
    _sign(client, found, "release", reason, kept_in, yes, as_json)


@click.command()
@click.argument("job")
@click.option("--reason", default="", help="Why; it is signed, and kept with the decision.")
@click.option("--yes", is_flag=True, help="Do not ask before signing.")
@click.option("--as-operator", is_flag=True, help="Reject with the operator's --admin-file instead of a signature.")
@json_option
@server_options
def reject(client: Client, job: str, reason: str, yes: bool, as_operator: bool, as_json: bool) -> None:
    """Sign a decision that rejects the held results of a job: nothing leaves.

    \b
    Example:
      sluice reject JOB --reason "rows of patients" --key-file checker.key
    """
    if as_operator:
        print_answer(client.reject_as_operator(job), f"Job {job} is rejected: nothing leaves.", as_json)
        return
    found = client.held_job(job)
    _sign(client, found, "reject", reason, {each["path"] for each in found["files"]}, yes, as_json)


def _sign(
    client: Client, found: dict[str, Any], verdict: str, reason: str, withheld: set[str], yes: bool, as_json: bool
) -> None:
    """Show what is signed, ask, sign and send it."""
    from functions.trust.canonical import encode

    files = [
        {
            "path": each["path"],
            "sha256": each["sha256"],
            "verdict": "withhold" if each["path"] in withheld else "release",
        }
        for each in found["files"]
    ]
    decision = {
        "v": 1,
        "job": found["jobId"],
        "head": found["head"],
        "verdict": verdict,
        "files": files,
        "reason": reason,
        "by": client.address.lower(),
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        "nonce": str(time.time_ns()),
    }
    for each in files:
        click.echo(f"{each['verdict']:<9} {printable(each['path'])}  {printable(each['sha256'])[:16]}…", err=True)
    if not yes:
        click.confirm(f"Sign as {client.address}: {verdict} job {printable(found['jobId'])}?", abort=True, err=True)
    answer = client.decide(decision, client.sign(encode(decision).decode()))
    print_answer(answer, f"Job {found['jobId']} {_outcome(answer)}", as_json)


def _outcome(answer: dict[str, Any]) -> str:
    """What follows from a decision, as the end of a sentence."""
    given = f"{answer['approvals']['given']} of {answer['approvals']['needed']}"
    match answer["state"]:
        case "released":
            return f"is released, with {given} approvals: the files are being copied to its results."
        case "rejected":
            return "is rejected: nothing leaves."
        case _:
            return f"waits for further decisions: {given} approvals are given."


def _print_rows(out: Any, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    from rich.table import Table

    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*map(printable, row))
    out.print(table)
