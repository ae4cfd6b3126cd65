"""The levels of isolation, and the best that this machine grants."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from enum import StrEnum
from pathlib import Path

from functions.local import view
from functions.local.program_environment import algorithm_user, bare_python


class Isolation(StrEnum):
    """From the best to none."""

    SANDBOX = "sandbox"
    NETWORK = "network"
    NONE = "none"

    @property
    def text(self) -> str:
        match self:
            case Isolation.SANDBOX:
                return "sandbox: no network, no other processes, only programs and the job's own files"
            case Isolation.NETWORK:
                return f"network only: algorithms have no network, but can read what {_who()} can read"
            case Isolation.NONE:
                return f"none: algorithms run as {_who()}, with the network of this machine; run only what you trust"


def probe() -> Isolation:
    """The best isolation that the kernel grants this user."""
    with tempfile.TemporaryDirectory() as folder:
        for level in (Isolation.SANDBOX, Isolation.NETWORK):
            if _works(level, Path(folder)):
                return level
    return Isolation.NONE


def _who() -> str:
    return "the user nobody" if os.geteuid() == 0 else "you"


def _works(level: Isolation, folder: Path) -> bool:
    for name in ("data/outputs", "data/logs", "data/adminlogs", "scratch", "root"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    user = algorithm_user()
    mounts = view.view(
        folder / "data",
        folder / "scratch",
        platform=folder,
        user=user or (os.getuid(), os.getgid()),
        shared_memory=1 << 20,
    )
    spec = {
        "isolation": level,
        "user": user,
        "command": ["/bin/sh", "-c", ":"],
        "environ": {},
        "cwd": "/",
        "view": view.as_json(mounts, folder / "root"),
    }
    code = "from functions.local import sandbox; import json; sandbox.run(json.loads(sys.argv[1]))"
    tried = subprocess.run(  # noqa: S603 - our own program
        [*bare_python(code), json.dumps(spec)], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    return tried.returncode == 0
