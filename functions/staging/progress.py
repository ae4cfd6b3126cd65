"""Reports the progress of configure and publish on stderr, in the line format of functions/workflow/progress.py."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress

from functions.workflow.progress import Progress, line

EVERY = 1.0  # seconds between two lines

Tell = Callable[[Progress], None]


def tell(progress: Progress) -> None:
    """Write the line. A closed stderr is not an error."""
    with suppress(OSError, ValueError):
        sys.stderr.write(line(progress))
