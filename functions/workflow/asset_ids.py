"""The ids of the data that a document names, whether or not the document is valid. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def asset_ids(document: Mapping[str, Any], *, unnamed: str | None) -> tuple[str | None, list[str]]:
    """Return the ids of the algorithm and of the inputs of an unchecked document, such as an old database may hold.

    `unnamed` stands for an algorithm without the key `id`. Inputs without an id are left out.
    """
    stages = document.get("stages")
    stage = stages[0] if isinstance(stages, list) and stages and isinstance(stages[0], dict) else {}
    algorithm, inputs = stage.get("algorithm"), stage.get("input")
    algorithm_id = algorithm.get("id", unnamed) if isinstance(algorithm, dict) else unnamed
    items = inputs if isinstance(inputs, list) else []
    return algorithm_id, [item["id"] for item in items if isinstance(item, dict) and "id" in item]
