"""What commands have in common: options, the client that they make, the form of answers."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from functions.cli.errors import fail

if TYPE_CHECKING:
    from functions.cli.api_client import Client

DEFAULT_URL = "http://127.0.0.1:8050"
F = TypeVar("F", bound=Callable[..., Any])


json_option = click.option("--json", "as_json", is_flag=True, help="Answer in JSON, for scripts.")
owner_option = click.option("--owner", metavar="ADDRESS", help="The consumer; by default the address of the key.")


def talks(command: F) -> F:
    """Options of a command that talks to a server; it gets a `client` for them."""

    @click.option("--url", envvar="SLUICE_URL", default=DEFAULT_URL, show_default=True, help="The server [SLUICE_URL].")
    @click.option(
        "--key-file",
        envvar="SLUICE_KEY_FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File with the private key that signs, in hex [SLUICE_KEY_FILE]; by default one that is made for you, "
        "~/.config/sluice/key.",
    )
    @click.option(
        "--admin-file",
        envvar="SLUICE_ADMIN_FILE",
        type=click.Path(exists=True, dir_okay=False, path_type=Path),
        help="File with the operator's Admin value [SLUICE_ADMIN_FILE].",
    )
    @functools.wraps(command)
    def with_client(*args: Any, url: str, key_file: Path | None, admin_file: Path | None, **kwargs: Any) -> Any:
        return command(*args, client=_client(url, key_file, admin_file), **kwargs)

    return with_client  # type: ignore[return-value]


def print_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def _client(url: str, key_file: Path | None, admin_file: Path | None) -> Client:
    from functions.cli.api_client import Client
    from functions.cli.keys import read_key, user_key

    if not url.startswith(("http://", "https://")):
        fail(f"--url: {url!r} is not a URL such as {DEFAULT_URL}")
    key = read_key(key_file) if key_file else user_key(Path(click.get_app_dir("sluice", force_posix=False)) / "key")
    admin = _first_line(admin_file) if admin_file else None
    return Client(url, key, admin)


def _first_line(file: Path) -> str:
    try:
        return file.read_text().strip()
    except (OSError, UnicodeDecodeError):
        fail(f"{file} cannot be read as text")
