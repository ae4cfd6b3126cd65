"""Writes docs/cli.md from the help texts: `PYTHONPATH=tests python -m support.cli_reference`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from click import Context, Group
from click.testing import CliRunner

from functions.cli.main import main

FILE = Path(__file__).parents[2] / "docs" / "cli.md"
COMMANDS = sorted(main.list_commands(Context(main)))
_HEAD = """# The command line

This page is generated from the help texts; `sluice COMMAND --help` prints the same.

Commands that talk to a server take `--url`, `--key-file` and `--admin-file`, or the variables `SLUICE_URL`,
`SLUICE_KEY_FILE` and `SLUICE_ADMIN_FILE`. `sluice tes` takes `--url` and `--token-file` (`SLUICE_TOKEN_FILE`).

With `--json`, a command prints one JSON document on stdout and nothing else there; messages go to stderr. Colour and
progress bars appear on a terminal only.
"""


def render() -> str:
    sections = [_HEAD, _section("sluice", [])]
    sections += [_section(" ".join(["sluice", *path]), path) for path in _paths()]
    return "\n".join(sections)


def _paths() -> Iterator[list[str]]:
    """Yield every command as the words that call it; a group before its own commands."""
    for name in COMMANDS:
        yield [name]
        command = main.get_command(Context(main), name)
        if isinstance(command, Group):
            yield from ([name, each] for each in sorted(command.commands))


def _section(title: str, command: list[str]) -> str:
    shown = CliRunner().invoke(main, [*command, "--help"], prog_name="sluice", terminal_width=100)
    assert shown.exit_code == 0, shown.output
    text = "\n".join(line.rstrip() for line in shown.output.splitlines())
    return f"## {title}\n\n```text\n{text.strip()}\n```\n"


if __name__ == "__main__":
    FILE.write_text(render(), encoding="utf-8")
