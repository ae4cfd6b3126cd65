"""What programs of a laptop run with: the Python, the user, the variables and the shared memory."""

from __future__ import annotations

import os
import pwd
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import functions

if TYPE_CHECKING:
    from functions.workflow.model import Limits

ROOT = str(Path(functions.__file__).parent.parent)


def bare_python(code: str) -> list[str]:
    """A command that starts Python as fast as possible: without site-packages. `functions` can be imported."""
    return [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.append({ROOT!r}); {code}"]


def algorithm_user() -> tuple[int, int] | None:
    """The uid and gid of algorithms where Sluice runs as root; None where they have the uid of Sluice itself.

    It is the last subordinate id of root (/etc/subuid, /etc/subgid) if there is one, else `nobody`. The first ids are
    the users of root's containers.
    """
    if os.geteuid() != 0:
        return None
    try:
        nobody = pwd.getpwnam("nobody")
        ids = nobody.pw_uid, nobody.pw_gid
    except KeyError:
        ids = 65534, 65534
    uid, gid = (_subordinate_id(file) for file in ("/etc/subuid", "/etc/subgid"))
    return (uid, gid) if uid and gid else ids


def _subordinate_id(file: str) -> int | None:
    """The last id of root's range in a file of lines `name:first:count`."""
    try:
        lines = [line.strip().split(":") for line in Path(file).read_text().splitlines()]
    except OSError:
        return None
    ranges = [line for line in lines if len(line) == 3 and line[0] in ("root", "0")]
    return int(ranges[0][1]) + int(ranges[0][2]) - 1 if ranges else None


def home_variables(scratch: str) -> dict[str, str]:
    """The variables of every program that is not ours."""
    return {
        # The machine's own programs come first. Behind them at least this Python can be found.
        "PATH": os.pathsep.join([os.environ.get("PATH", os.defpath), str(Path(sys.executable).parent)]),
        "LANG": os.environ.get("LANG", "C.UTF-8"),
        "HOME": scratch,
        "TMPDIR": scratch,
    }


def shared_memory(limits: Limits) -> int:
    """The bytes of /dev/shm. A program that fills it must run out of memory first, and not out of space."""
    return 2 * limits.memory or 64 << 20
