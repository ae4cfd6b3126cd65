"""`sluice tes run`: one GA4GH TES task on this machine, from its file to its outputs."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from os.path import normpath
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from functions.cli.command_errors import FAILED, INTERRUPTED, fail
from functions.cli.local_platform import interruptible, running_platform
from functions.cli.options import environments_option, json_option, print_json, show_option, temporary_folder_option

if TYPE_CHECKING:
    from functions.cli.tes_client import TesClient

_POLL = 0.25  # seconds between two polls; the end of a stage is announced
_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:")

outputs_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the outputs whose `url` is a relative path.  [default: out/NAME, NAME being the file's name]",
)


@click.command()
@click.argument("task", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@outputs_option
@temporary_folder_option
@environments_option
@click.option("--require-isolation", is_flag=True, help="Refuse to run if the executors cannot be isolated.")
@show_option
@json_option
def run(
    task: Path,
    out: Path | None,
    folder: Path | None,
    environments: Path | None,
    require_isolation: bool,
    shown: tuple[Path, ...],
    as_json: bool,
) -> None:
    """Run a task on this machine, without a server.

    TASK is the JSON body of a POST to /ga4gh/tes/v1/tasks. A `url` of an input may be a path relative to TASK, a `url`
    of an output a path relative to --out.

    Run only tasks that you trust: they may read every file that you can read, and write their outputs wherever you can.
    The executors run with the programs of this machine; their images are not used. Ctrl-C cancels the task.

    \b
    Exit codes: 1 if the task does not end as COMPLETE or is held, 2 if it is not valid, 130 after Ctrl-C.

    \b
    Example:
      sluice tes run examples/tes/task.json
    """
    from functions.cli.run import fail_held, platform_folder
    from functions.cli.tes_client import TesClient

    body = local_urls(read_task(task), task, out)
    with (
        interruptible(),
        platform_folder(folder) as place,
        running_platform(
            place,
            environments=environments,
            require_isolation=require_isolation,
            shown=shown,
            end_stages=True,
            temporary=folder is None,
        ) as platform,
    ):
        client = TesClient(platform.url)
        is_held, interrupted = wait_for_end(client, id := client.create(body), lambda _: platform.wait(_POLL))
        if is_held:
            fail_held(folder)
        ended = client.task(id, "FULL")
    if as_json:
        print_json(ended)
    else:
        from functions.cli import tes_report

        tes_report.print_task(ended)
    if interrupted or ended["state"] != "COMPLETE":
        raise SystemExit(INTERRUPTED if interrupted else FAILED)


def read_task(file: Path) -> Any:
    """Return the content of a JSON file. Ends the command if the file cannot be read, or is not JSON."""
    try:
        return json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError) as e:
        fail(f"{file}: not JSON ({e})")


def local_urls(task: Any, file: Path, out: Path | None) -> Any:
    """Return the task of `file` with file: URLs instead of relative paths. Ends the command if an input is missing."""
    folders = {"inputs": file.parent, "outputs": out or Path("out") / file.stem}
    for field, path, holder in relative_urls(task):
        place = Path(normpath(folders[field].absolute() / holder["url"]))
        if field == "inputs" and "content" not in holder and not place.exists():
            fail(f"{path}: expected a URL, or a path relative to {file}; {place} does not exist")
        holder["url"] = place.as_uri()
    return task


def relative_urls(task: Any) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield each input and output whose `url` is a relative path, after its field and the JSON path of the `url`."""
    for field in ("inputs", "outputs"):
        files = task.get(field) if isinstance(task, dict) else None
        for n, holder in enumerate(files if isinstance(files, list) else []):
            url = holder.get("url") if isinstance(holder, dict) else None
            if isinstance(url, str) and url and "\0" not in url and not url.startswith("/") and not _SCHEME.match(url):
                yield field, f"$.{field}[{n}].url", holder


def wait_for_end(client: TesClient, id: str, pause: Callable[[float], object]) -> tuple[bool, bool]:
    """Wait until the task has ended or is held; Ctrl-C cancels it. Returns whether it is held, and was interrupted.

    A task's own state does not tell that it is held. The operator's view of it does, and this server is our own.
    """
    from functions.cli import watch
    from functions.cli.api_client import Client
    from functions.cli.keys import new_key

    operator = Client(client.url, new_key())
    try:
        return any(watch.is_held(job) for job in watch.follow(operator, id, pause=pause)), False
    except KeyboardInterrupt:
        client.cancel(id)
        for _ in watch.follow(operator, id, pause=pause):
            pass
        return False, True
