"""What the command says of itself, and what it costs to start."""

from __future__ import annotations

import subprocess
import sys

import pytest
from support.cli_reference import FILE, render

from functions.cli.main import main

HEAVY = ("sqlalchemy", "flask", "werkzeug", "urllib3", "rich", "alembic", "coincurve", "yaml", "obstore", "msgspec")


def test_docs_cli_is_what_the_help_says() -> None:
    assert FILE.read_text(encoding="utf-8") == render(), (
        "write it anew: PYTHONPATH=tests python -m support.cli_reference"
    )


@pytest.mark.parametrize("name", sorted(main.commands))
def test_every_command_and_option_says_what_it_does(name: str) -> None:
    command = main.commands[name]
    assert command.help
    for option in command.params:
        described = getattr(option, "help", None) or getattr(option, "choices", None) or option.name == "job"
        assert described or option.param_type_name == "argument" or option.name in ("stage",), option.name


def test_help_loads_nothing_heavy() -> None:
    code = f"""
import sys
from functions.cli.main import main
try:
    main(["--help"])
finally:
    print(sorted(set({HEAVY!r}) & set(sys.modules)), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "sluice run" in ended.stdout
    assert ended.stderr.strip() == "[]"
