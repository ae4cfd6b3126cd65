"""What a provider signs, before the nonce."""

from __future__ import annotations

from typing import Any


def message(owner: Any, job: str | None = None) -> str:
    """The owner, and the job where one is named. No owner is the literal `None`, as operator-service has it."""
    return f"{owner}{job or ''}"
