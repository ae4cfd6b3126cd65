"""Kubernetes expands `$(NAME)` and `$$` in commands and variables; a client's text must survive that unchanged."""

from __future__ import annotations

import re
import shlex
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.kubelet import kubernetes_expand
from support.stage_objects import DOCUMENT, container, make

from functions.cluster.kubernetes.scripts import no_expansion
from functions.cluster.stage_command import algorithm_command
from functions.workflow.document import parse
from functions.workflow.environment import Environment
from functions.workflow.model import Stage

VARIABLES = {"secret": "s3cr3t", "HOME": "/tmp", "VOLUME": "/data"}
HOSTILE = "sh -c 'echo $(secret) $$(HOME) $$ $HOME ${HOME} $( $'"


def with_entrypoint(entrypoint: str) -> Any:
    document = msgspec.json.decode(msgspec.json.encode(DOCUMENT))
    document["stages"][0]["algorithm"]["container"]["entrypoint"] = entrypoint
    return parse(document)


def test_the_model_expands_as_the_kubelet_does() -> None:
    assert (
        kubernetes_expand("$(secret) $$(secret) $HOME $(absent) $$", VARIABLES) == "s3cr3t $(secret) $HOME $(absent) $"
    )


@given(st.text(alphabet="$()ab\n{}"))
def test_any_text_reaches_the_container_unchanged(text: str) -> None:
    assert kubernetes_expand(no_expansion(text), {"a": "X", "b": "Y", "": "Z"}) == text


def test_the_algorithms_command_reaches_its_container_unchanged() -> None:
    job = make(Stage.ALGORITHM, definition=with_entrypoint(HOSTILE))
    command = [kubernetes_expand(each, VARIABLES) for each in container(job)["command"]]
    assert command[4] == algorithm_command(job, "/data") == HOSTILE
    assert "/.sluice.$$" in command[2]  # the wrapper's own `$$` is the shell's pid, too


def test_a_filters_command_reaches_its_container_unchanged() -> None:
    words = ("/filter", "$(secret)", "$$", "$HOME")
    job = make(Stage.FILTER, Environment(id="e", filter_image="filter:1", filter_command=words))
    command = [kubernetes_expand(each, VARIABLES) for each in container(job)["command"]]
    assert shlex.split(command[4].splitlines()[-1]) == list(words)


@pytest.mark.parametrize("stage", Stage)
def test_the_command_and_the_variables_of_a_stage_hold_nothing_to_expand(stage: Stage) -> None:
    made = container(make(stage, definition=with_entrypoint(HOSTILE)))
    texts = [*made.get("command", []), *(each.get("value", "") for each in made["env"])]
    assert not any(re.search(r"(?<!\$)(\$\$)*\$\(", text) for text in texts)


def test_python_programs_print_without_delay() -> None:
    """A program that is stopped or killed would take what it has printed with it."""
    for stage in (Stage.ALGORITHM, Stage.FILTER):
        assert {"name": "PYTHONUNBUFFERED", "value": "1"} in container(make(stage))["env"]
