"""The task file: all that the configure and publish programs are told, as one JSON file.

In a pod it is a file of the workflow's Secret, because input URLs may carry credentials.
"""

from __future__ import annotations

from msgspec import Struct

from functions.workflow.document import Definition
from functions.workflow.environment import FetchPolicy, PublishPolicy


class Task(Struct, frozen=True, kw_only=True):
    """`results` is the storage URL below which publish writes (see functions/results)."""

    workflow: str
    definition: Definition
    results: str
    fetch: FetchPolicy = FetchPolicy()
    publish: PublishPolicy = PublishPolicy()
