"""The configure stage on a volume of a test's own: tasks, and what came out."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from functions.backoff import Backoff
from functions.staging.retry import RetryPolicy
from functions.workflow.progress_line import Progress
from functions.workflow.stage_options import FetchOptions
from functions.workflow.stage_task import Task

LOOPBACK = FetchOptions(
    schemes=("http", "https", "s3", "gs", "az", "ipfs", "ar", "file"),
    allow_private_addresses=True,
    max_bytes=1 << 30,
    seconds=30,
)
FEW_RETRIES = RetryPolicy(tries=3, backoff=Backoff(0.01, 2, 0.02), connect=2, stall=0.3)


def task_of(
    inputs: list[dict[str, Any]] | None = None,
    algorithm: dict[str, Any] | None = None,
    output: dict[str, Any] | None = None,
    options: FetchOptions = LOOPBACK,
) -> Task:
    """A task with as little in it as a test needs."""
    stage = {
        "input": inputs or [],
        "algorithm": {"container": {"entrypoint": "python $ALGO", "image": "python"}} | (algorithm or {"rawcode": "1"}),
        "compute": {},
        "output": output or {},
    }
    document = {"workflow": "w", "results": "file:///none", "definition": {"dialect": "ocean", "stages": [stage]}}
    return msgspec.structs.replace(msgspec.convert(document, Task), fetch=options)


@dataclass
class Outcome:
    code: int
    volume: Path
    progress: Progress | None = None  # the last that was told

    @property
    def message(self) -> str:
        return (self.volume / "termination-message").read_text()

    @property
    def reason(self) -> str:
        return self.message.split(":")[0]

    def read(self, path: str) -> bytes:
        return (self.volume / path).read_bytes()

    def json(self, path: str) -> Any:
        return json.loads(self.read(path))

    def tree(self) -> list[str]:
        return sorted(str(p.relative_to(self.volume)) for p in self.volume.rglob("*"))

    def everything_told(self) -> str:
        """All texts that anybody may read afterwards, but the data."""
        names = ("termination-message", "provenance.json", "adminlogs/configure.log")
        return "\n".join((self.volume / name).read_text() for name in names if (self.volume / name).exists())


Configure = Callable[..., Outcome]
