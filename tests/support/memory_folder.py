"""A fast place for many files that no test outlives."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path


def folder_in_memory() -> Path:
    """A folder in memory if there is room. Creating the 300 files of a database takes a fifth of the time there."""
    memory = Path("/dev/shm")
    roomy = os.access(memory, os.W_OK) and shutil.disk_usage(memory).free > 4 << 30
    return memory if roomy else Path(tempfile.gettempdir())
