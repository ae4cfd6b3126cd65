"""How well a stage can be shut in on this machine: tried out, and said plainly."""

from __future__ import annotations

import json
import subprocess
import tempfile
from enum import StrEnum
from pathlib import Path

from functions.local import launch_spec as plans


class Isolation(StrEnum):
    """From the best to none."""

    SANDBOX = "sandbox"
    NETWORK = "network"
    NONE = "none"

    @property
    def text(self) -> str:
        match self:
            case Isolation.SANDBOX:
                return "namespaces: no network, no other process or home folder to be seen, inputs read-only"
            case Isolation.NETWORK:
                return "network namespace only: no network, but algorithms can read what you can read"
            case Isolation.NONE:
                return "none: algorithms run as you, with network; run only what you trust"


def probe() -> Isolation:
    """The best isolation that this kernel grants this user."""
    with tempfile.TemporaryDirectory() as folder:
        for level in (Isolation.SANDBOX, Isolation.NETWORK):
            if _works(level, Path(folder)):
                return level
    return Isolation.NONE


def _works(level: Isolation, folder: Path) -> bool:
    for name in ("data/outputs", "data/logs", "data/adminlogs", "scratch", "root"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    plan = {
        "isolation": level,
        "command": ["/bin/sh", "-c", ":"],
        "environ": {},
        "cwd": "/",
        "view": plans.view(folder, folder, folder, 1 << 20),
    }
    code = "from functions.local import sandbox; import json; sandbox.run(json.loads(sys.argv[1]))"
    tried = subprocess.run(  # noqa: S603 - our own program
        [*plans.bare_python(code), json.dumps(plan)], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return tried.returncode == 0
