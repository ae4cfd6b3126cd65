"""The local platform as `sluice run` and `sluice up` start it: its log, its start-up errors, and signals."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import click

from functions.cli.command_errors import fail

if TYPE_CHECKING:
    from functions.local.platform import Platform

LOG = "sluice.log"


@contextmanager
def running_platform(folder: Path, *, log: str = "", **options: Any) -> Iterator[Platform]:
    """A platform that runs until the block ends. It writes its JSON log to the file `log`.

    `-` stands for stderr, and an empty `log` for `sluice.log` in `folder`. `options` go to Platform. The command ends
    with a message if the platform cannot start.
    """
    from functions.local.http_server import PortTaken
    from functions.local.platform import Platform, PlatformError

    with ExitStack() as stack:
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            _set_up_log(log or str(folder / LOG))
            platform = stack.enter_context(Platform(folder, **options))
        except (PlatformError, PortTaken) as e:
            fail(str(e))
        except OSError as e:
            file = Path(e.filename or folder)
            remedy = "; choose another folder with --dir" if file.is_relative_to(folder) else ""
            fail(f"{file}: {e.strerror}{remedy}")
        _warn_of_missing_exporter()
        yield platform


@contextmanager
def interruptible() -> Iterator[None]:
    """Let SIGTERM end the block as Ctrl-C does, with KeyboardInterrupt."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def wait_for_signal() -> None:
    """Wait, without waking up in between, until a signal has been handled.

    `signal.pause` would sleep through one that arrives just before it.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.set_wakeup_fd(writer)
    try:
        select.select([reader], [], [])
    finally:
        signal.set_wakeup_fd(before)
        os.close(reader)
        os.close(writer)


def _warn_of_missing_exporter() -> None:
    from functions.settings import Settings

    if Settings.load().otlp_endpoint:
        from functions import telemetry

        if not telemetry.has_exporter():
            click.echo(f"Warning: {telemetry.EXTRA_MISSING}", err=True)


def _set_up_log(file: str) -> None:
    from functions import log

    log.setup(stream=sys.stderr if file == "-" else open(file, "a", encoding="utf-8"))  # noqa: SIM115 - open to the end
