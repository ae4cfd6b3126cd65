"""The help texts, and the cost of starting the command."""

from __future__ import annotations

import re
import subprocess
import sys
from inspect import cleandoc

import click
import pytest
from support.cli_reference import COMMANDS, FILE, render

from functions.cli.log_commands import STAGES
from functions.cli.main import main
from functions.workflow.model import Stage

HEAVY = ("sqlalchemy", "flask", "werkzeug", "urllib3", "rich", "alembic", "coincurve", "yaml", "obstore", "msgspec")


def command(name: str) -> click.Command:
    found = main.get_command(click.Context(main), name)
    assert found
    return found


def test_docs_cli_matches_the_help_texts() -> None:
    assert FILE.read_text(encoding="utf-8") == render(), (
        "write it again with: PYTHONPATH=tests python -m support.cli_reference"
    )


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_option_says_what_it_does(name: str) -> None:
    assert command(name).help
    for option in command(name).params:
        assert isinstance(option, click.Argument) or getattr(option, "help", None), option.name


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_print_json(name: str) -> None:
    found = command(name)
    commands = list(found.commands.values()) if isinstance(found, click.Group) else [found]
    assert all(any("--json" in option.opts for option in each.params) for each in commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_text_begins_with_a_sentence_that_the_list_of_commands_shows_whole(name: str) -> None:
    summary = cleandoc(command(name).help or "").splitlines()[0]
    assert re.fullmatch(r"[A-Z][^.]*\.", summary)
    assert summary in render().split("## sluice dead-letters")[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_help_text_has_an_example_of_the_command(name: str) -> None:
    example = re.search(r"\bExamples?:\n((?:  .*\n?)+)", cleandoc(command(name).help or ""))
    assert example
    assert f"sluice {name}" in example[1]


def test_logs_can_be_asked_for_of_every_stage() -> None:
    assert list(STAGES) == [stage.value for stage in Stage]


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


@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_imports_no_other_command(name: str) -> None:
    code = f"""
import sys
from functions.cli.main import SECTIONS, main
try:
    main([{name!r}, "--help"])
finally:
    places = [place for section in SECTIONS.values() for place in section.values()]
    commands = {{"functions.cli." + place.split(":")[0] for place in places}}
    print(*sorted(commands & set(sys.modules)), file=sys.stderr)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert len(ended.stderr.split()) == 1
