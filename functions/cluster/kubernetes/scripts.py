"""The shell scripts that run a consumer's program in a container, and how Kubernetes takes text. Pure."""

from __future__ import annotations

from functools import cache
from pathlib import Path


@cache
def script(name: str) -> str:
    """The script of this name, without its comments."""
    lines = Path(__file__).with_name(name).read_text().splitlines()
    return "\n".join(line for line in lines if line and not line.startswith("#"))


def no_expansion(text: str) -> str:
    """Write a text so that Kubernetes, which expands `$(NAME)` and `$$` in commands and variables, restores it."""
    return text.replace("$", "$$")
