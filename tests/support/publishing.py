"""A volume as the algorithm leaves it, and the task that publish is given."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec

from functions.results.ports import Storage
from functions.workflow.document import parse
from functions.workflow.model import Manifest, ResultFile
from functions.workflow.stage_options import PublishOptions
from functions.workflow.stage_task import Task

Publish = Callable[..., Manifest]


def task(results: str = "", options: PublishOptions | None = None, public_key: str | None = None) -> Task:
    stage = {
        "algorithm": {"container": {"entrypoint": "python $ALGO", "image": "python"}, "rawcode": "print()"},
        "compute": {},
        "input": [],
        "output": {"publicKey": public_key} if public_key else {},
    }
    definition = parse({"stages": [stage]})
    return Task(workflow="w1", definition=definition, results=results, publish=options or PublishOptions())


def write_task(path: Path, given: Task) -> Path:
    path.write_bytes(msgspec.json.encode(given))
    return path


def volume(root: Path, outputs: dict[str, bytes] | None = None) -> Path:
    """A volume below `root`, with these outputs and the logs of the stages before."""
    for name in ("outputs", "logs", "adminlogs"):
        (root / name).mkdir(parents=True)
    for name, content in (outputs if outputs is not None else OUTPUTS).items():
        path = root / "outputs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    (root / "logs" / "algorithm.log").write_bytes(b"trained\n")
    (root / "adminlogs" / "configure.log").write_bytes(b"fetched\n")
    return root


OUTPUTS = {
    "a.csv": b"a,b\n1,2\n",
    "empty": b"",
    "plots/deep/x.svg": b"<svg/>",
    "plots/y.png": b"\x89PNG",
    "z": b"z" * 9,
}


def content(storage: Storage, file: ResultFile) -> bytes:
    found = storage.open(file)
    try:
        return b"".join(found.chunks)
    finally:
        found.close()
