"""A program's exit code and the most memory it had."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

# A process begins with the peak of the one that starts it, and a test's own may be large: a small one stands between.
_BETWEEN = """
import os, sys
_, status, usage = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ), 0)
print(os.waitstatus_to_exitcode(status), usage.ru_maxrss * 1024)
"""


def measured(command: Sequence[str], environ: Mapping[str, str], stderr: Path) -> tuple[int, int]:
    """Run it; the exit code and the bytes of resident memory at their peak. What it says goes to `stderr`."""
    between = [sys.executable, "-I", "-S", "-c", _BETWEEN, *command]
    with stderr.open("wb") as said:
        ended = subprocess.run(between, env=environ, stdout=subprocess.PIPE, stderr=said, check=True)
    code, peak = ended.stdout.split()[-2:]
    return int(code), int(peak)
