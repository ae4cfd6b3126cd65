"""Options that several commands share, and the client built from them."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

import click

from functions.cli.command_errors import fail, printable
from functions.log import printable_json

if TYPE_CHECKING:
    from functions.cli.api_client import Client

DEFAULT_URL = "http://127.0.0.1:8050"
THIS_MACHINE = ("127.0.0.1", "localhost", "::1")
CONSOLE = "/console/"  # below the URL of a server
F = TypeVar("F", bound=Callable[..., Any])

_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")
owner_option = click.option(
    "--owner", metavar="ADDRESS", help="The consumer's address.  [default: the address of the key]"
)
temporary_folder_option = click.option(
    "--dir",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the database, logs and working files.  [default: a temporary folder]",
)
environments_option = click.option(
    "--environments", type=_FILE, help="YAML file of compute environments, instead of the built-in `ocean-compute`."
)


def _check_shown(_: click.Context, __: click.Parameter, paths: tuple[Path, ...]) -> tuple[Path, ...]:
    from functions.local.view import conflict

    for path in paths:
        if problem := conflict(path):
            raise click.BadParameter(f"{path} cannot be shown: {problem}")
    return paths


show_option = click.option(
    "--show",
    "shown",
    multiple=True,
    type=click.Path(path_type=Path),
    callback=_check_shown,
    help="A file or folder that algorithms see read-only, besides programs. May be repeated.",
)


url_option = click.option(
    "--url", envvar="SLUICE_URL", default=DEFAULT_URL, show_default=True, help="The server; also SLUICE_URL."
)


def server_options(command: F) -> F:
    """Add --url, --key-file and --admin-file to a command, and pass it the `client` built from them."""

    @url_option
    @click.option(
        "--key-file",
        envvar="SLUICE_KEY_FILE",
        type=_FILE,
        help="File with the private key in hex that signs requests; also SLUICE_KEY_FILE.  "
        "[default: ~/.config/sluice/key, made on first use]",
    )
    @click.option(
        "--admin-file",
        envvar="SLUICE_ADMIN_FILE",
        type=_FILE,
        help="File with the operator's secret for the Admin header; also SLUICE_ADMIN_FILE.",
    )
    @functools.wraps(command)
    def with_client(*args: Any, url: str, key_file: Path | None, admin_file: Path | None, **kwargs: Any) -> Any:
        return command(*args, client=_client(url, key_file, admin_file), **kwargs)

    return with_client  # type: ignore[return-value]


def print_json(value: Any) -> None:
    """Print `value` as indented JSON on stdout. Characters that are not printable become JSON's escapes."""
    lines = json.dumps(value, indent=2, ensure_ascii=False).split("\n")
    click.echo("\n".join(map(printable_json, lines)))


def print_answer(answer: dict[str, Any], told: str, as_json: bool) -> None:
    """Print a server's answer as JSON, or the sentence `told` instead."""
    if as_json:
        print_json(answer)
    else:
        click.echo(printable(told))


def _client(url: str, key_file: Path | None, admin_file: Path | None) -> Client:
    from functions.cli.api_client import Client
    from functions.cli.keys import read_key, user_key

    checked_url(url)
    key = read_key(key_file) if key_file else user_key(Path(click.get_app_dir("sluice", force_posix=False)) / "key")
    return Client(url, key, read_secret(admin_file) if admin_file else None)


def checked_url(url: str) -> str:
    """Return the URL of a server. Ends the command if it is none."""
    if problem := _problem(url):
        fail(f"--url: {problem}; expected a URL such as {DEFAULT_URL}")
    return url


def _problem(url: str) -> str:
    """The fault in the URL of a server, without a password in it; empty if there is none."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as e:
        return str(e)
    if parts.scheme not in ("http", "https"):
        return f"{url!r} does not begin with http:// or https://"
    if parts.username is not None:
        return "a user name in the URL is not supported"
    if not host or not re.fullmatch(r"[\w.:%-]+", host) or port == 0:
        return f"{url!r} has no valid host and port"
    if parts.query or parts.fragment:
        return f"{url!r} has a query or a fragment"
    return ""


def read_secret(file: Path) -> str:
    """Return the text of a file with a secret. Ends the command if it cannot be read."""
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        fail(f"{file}: cannot be read as text")
