"""`sluice console`."""

from __future__ import annotations

import click

from functions.cli.options import CONSOLE, checked_url, json_option, print_json, url_option


@click.command()
@click.argument("job", default="")
@click.option("--print", "only_print", is_flag=True, help="Print the address and open nothing.")
@json_option
@url_option
def console(job: str, only_print: bool, as_json: bool, url: str) -> None:
    """Open the console of a server in the browser, on the page of JOB if one is given.

    \b
    Exit codes: 3 if no server answers there.

    \b
    Examples:
      sluice console
      sluice console JOB --url https://sluice.example.org
    """
    import webbrowser
    from urllib.parse import quote

    from functions.cli.http_client import HttpClient

    class Console(HttpClient):
        """Checks that a server has a console."""

        prefix = "/console/api"

        def check(self) -> None:
            """Raise ApiError or ServerUnavailable if it has none."""
            self._json("GET", "/session")

    address = checked_url(url).rstrip("/") + CONSOLE
    Console(url, {}).check()
    if job:
        address += f"#/workflows/{quote(job, safe='')}"
    opened = not only_print and webbrowser.open(address)
    if as_json:
        print_json({"url": address, "opened": opened})
        return
    click.echo(address)
    if not opened and not only_print:
        click.echo("no browser could be opened here; open the address yourself", err=True)
