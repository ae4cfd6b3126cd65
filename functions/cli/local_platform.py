"""Starting the laptop's platform for a command: its log, its failures, and signals."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from functions.cli.errors import fail

if TYPE_CHECKING:
    from functions.local.platform import Platform

LOG = "sluice.log"


@contextmanager
def platform(folder: Path, *, log: str = "", **options: Any) -> Iterator[Platform]:
    """A running platform. `log`: its JSON log's file, `-` for stderr; by default `sluice.log` in the folder."""
    from functions.local.platform import Platform, PlatformError
    from functions.local.serve import PortTaken

    with ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _log_to(log or str(folder / LOG))
            started = stack.enter_context(Platform(folder, **options))
        except (PlatformError, PortTaken) as e:
            fail(str(e))
        except OSError as e:
            fail(f"{e.filename or folder}: {e.strerror}")
        yield started


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _log_to(file: str) -> None:
    from functions import log

    log.setup(stream=sys.stderr if file == "-" else open(file, "a", encoding="utf-8"))  # noqa: SIM115 - to the end
