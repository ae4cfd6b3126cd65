"""`sluice logs`: print the log of a stage, or follow it while it grows."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import click

from functions.cli.command_errors import FAILED, UNAVAILABLE, fail
from functions.cli.options import json_option, print_json, server_options

if TYPE_CHECKING:
    from functions.cli.api_client import Client

# `functions.workflow.model.Stage`, whose import would take longer than the rest of `sluice --help`.
STAGES = ("configure", "algorithm", "filter", "check", "publish", "release")
_PAUSE = 1.0  # seconds until a stream that ended early is opened again
_GIVE_UP_AFTER = 60.0  # seconds without an answer
_LONGEST_LINE = 1 << 16  # bytes that are held back until a line ends


@click.command()
@click.argument("job")
@click.option(
    "--stage",
    type=click.Choice(STAGES),
    default="algorithm",
    show_default=True,
    help="The stage whose log is wanted.",
)
@click.option("-f", "--follow", "followed", is_flag=True, help="Print the log while it grows, until the stage is over.")
@json_option
@server_options
def logs(client: Client, job: str, stage: str, followed: bool, as_json: bool) -> None:
    """Print the log of a stage.

    Operators can read the logs of all stages, also while they run. Others can follow the algorithm's log with
    --follow, and read it after it is published. Both are refused if the environment filters results, or if results
    are checked or held.

    A terminal shows control characters as escapes such as \\x1b, so that a log cannot control it. A pipe or a file gets
    the log unchanged.

    \b
    Exit codes: 1 if the job still runs and its log cannot be read yet, 2 if there is no such job or log.

    \b
    Examples:
      sluice logs JOB --stage configure
      sluice logs JOB --follow
    """
    if followed and as_json:
        fail("--json prints a whole log; leave it out with --follow")
    if followed:
        _write_pieces(follow(client, job, stage))
        return
    text = _log(client, job, stage)
    if as_json:
        print_json({"jobId": job, "stage": stage, "log": text.decode(errors="replace")})
    else:
        _write_pieces([text])


def follow(client: Client, job: str, stage: str, pause: Callable[[float], object] = time.sleep) -> Iterator[bytes]:
    """Yield what a stage prints until it is over. A stream that breaks off is resumed where it ended.

    Raises ApiError if the log is refused, ServerUnavailable if the server does not answer for a minute.
    """
    from functions.cli.http_client import ApiError, ServerUnavailable

    position, answered = "0", time.monotonic()
    while True:
        try:
            for event in client.log_events(job, stage, position):
                answered = time.monotonic()
                if event.get("event") == "end":
                    return
                if "data" in event:
                    position = event.get("id", position)
                    yield _piece(client, event["data"])
        except (ApiError, ServerUnavailable) as e:
            if (isinstance(e, ApiError) and e.status < 500) or time.monotonic() - answered > _GIVE_UP_AFTER:
                raise
        pause(_PAUSE)


def lines(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the lines of a log without their ends; a long one in parts."""
    rest = b""
    for piece in pieces:
        *whole, rest = (rest + piece).split(b"\n")
        yield from whole
        if len(rest) > _LONGEST_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest


def _piece(client: Client, data: str) -> bytes:
    try:
        text = json.loads(data)
        return bytes(text.encode("utf-8", "surrogateescape"))
    except (ValueError, RecursionError, AttributeError):
        fail(f"{client.url}: its log has an unknown form, so it is not a Sluice server", UNAVAILABLE)


def _write_pieces(pieces: Iterable[bytes]) -> None:
    """Write a log: unchanged to a pipe or file, with control characters made visible to a terminal."""
    if not sys.stdout.isatty():
        for piece in pieces:
            click.echo(piece, nl=False)
        return
    from functions.cli import terminal

    out = terminal.console()
    for line in lines(pieces):
        terminal.print_log(out, line or b"\n")


def _log(client: Client, job: str, stage: str) -> bytes:
    from functions.cli.http_client import ApiError

    try:
        return client.log(job, stage)
    except ApiError as e:
        if e.status == 404:
            _fail_if_running(client.job(job), f"there is no log of {stage} yet")
        if e.status not in (400, 401) or stage != "algorithm":
            raise
        return _published_log(client, job)


def _published_log(client: Client, job_id: str) -> bytes:
    from functions.cli.http_client import ApiError

    job = client.job(job_id)
    for index, file in enumerate(job["results"] or []):
        if file["type"] == "algorithmLog":
            with client.result(job_id, job["owner"], index) as answer:
                return bytes(answer.read())
    _fail_if_running(
        job, "its log can be read after it has ended, if it is published; operators can read it now (--admin-file)"
    )
    why = "was removed with the results" if job.get("removed") else "is not published; an operator can read it"
    raise ApiError(404, f"the algorithm's log of job {job_id} {why}")


def _fail_if_running(job: Any, consequence: str) -> None:
    from functions.cli import watch

    if not watch.has_ended(job):
        fail(f"job {job['jobId']} is still running ({watch.status_text(job)}): {consequence}", FAILED)
