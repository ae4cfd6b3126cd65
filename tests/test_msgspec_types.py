"""Types that several threads decode are prepared at import: msgspec crashes if two threads prepare one together."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import functions

PROGRAM = """
import sys, threading
import msgspec
from functions.cluster.job_folder import JobRequest
from functions.results.layout import Manifest
from functions.workflow.document import Definition
from functions.workflow.environment import Environment
from functions.workflow.model import Ending, Halt, Limits
from functions.workflow.progress_line import Progress
import functions.environments, functions.store.rows

sys.setswitchinterval(1e-6)
together = threading.Barrier(4)

def decode():
    together.wait()
    for kind in (JobRequest, Manifest, Definition, Environment, Ending, Halt, Limits, Progress):
        try:
            msgspec.convert({"stages": [{}]}, kind)
        except msgspec.ValidationError:
            pass

threads = [threading.Thread(target=decode) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
"""


def test_threads_may_decode_a_type_for_the_first_time_together() -> None:
    ends = [subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True).returncode for _ in range(3)]
    assert ends == [0, 0, 0]


def test_only_programs_without_threads_prepare_types_when_they_decode() -> None:
    folder = Path(functions.__file__).parent
    found = {
        str(path.relative_to(folder))
        for path in folder.rglob("*.py")
        if re.search(r"json\.decode\([^\n]*type=", path.read_text())
    }
    # Only the stage programs use it, and they decode their task before they start threads.
    assert found == {"untrusted.py"}
