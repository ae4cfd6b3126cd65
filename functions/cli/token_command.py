"""`sluice token`: make tokens for the tokens file of a server."""

from __future__ import annotations

import click

from functions.cli.command_errors import fail
from functions.cli.options import json_option, print_json


@click.group()
def token() -> None:
    """Make tokens for the clients of GA4GH TES.

    \b
    Example:
      sluice token new alice
    """


@token.command()
@click.argument("owner")
@click.option("--environment", "environments", multiple=True, metavar="ID", help="May be repeated.  [default: all]")
@click.option("--admin", is_flag=True, help="The token reads and cancels the tasks of all owners.")
@json_option
def new(owner: str, environments: tuple[str, ...], admin: bool, as_json: bool) -> None:
    """Make a token for OWNER, and the line that lets it in.

    The token is for the client. The line is for the file that the server's TES_TOKENS_FILE names; it holds only a hash
    of the token. With --environment, tasks run in these environments only.

    \b
    Examples:
      sluice token new alice
      sluice token new lab-7 --environment ocean-compute
    """
    from functions.api.auth import tokens

    if not tokens.OWNER.fullmatch(owner):
        fail(f"{owner!r} cannot be an owner; use letters, digits, `.`, `_`, `@`, `+` and `-`, at most 200 characters")
    if any(not each or "," in each or "#" in each or each.split() != [each] for each in environments):
        fail("--environment: expected an environment's id, without spaces, `,` and `#`")
    secret = tokens.new_token()
    allowed = frozenset(environments) if environments else None
    line = tokens.Entry(tokens.digest(secret), owner, allowed, admin).line
    if as_json:
        print_json({"token": secret, "line": line})
    else:
        click.echo(f"token: {secret}\nline:  {line}")
