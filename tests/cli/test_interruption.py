"""How a command that runs until it is interrupted waits for that."""

from __future__ import annotations

import os
import select
import signal
from typing import Any

import pytest

from functions.cli.local_platform import interruptible, wait_for_signal


def test_a_signal_that_arrives_just_before_the_wait_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real_select = select.select

    def select_after_a_signal(reader: list[int], *_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGUSR1)
        ready = real_select(reader, [], [], 5)
        assert ready[0], "the signal was slept through"
        return ready

    before = signal.signal(signal.SIGUSR1, lambda *_: None)
    monkeypatch.setattr(select, "select", select_after_a_signal)
    try:
        wait_for_signal()
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_sigterm_ends_the_wait_as_ctrl_c_does(monkeypatch: pytest.MonkeyPatch) -> None:
    real_select = select.select

    def select_after_sigterm(reader: list[int], *_: Any) -> Any:
        os.kill(os.getpid(), signal.SIGTERM)
        return real_select(reader, [], [], 5)

    monkeypatch.setattr(select, "select", select_after_sigterm)
    with pytest.raises(KeyboardInterrupt), interruptible():
        wait_for_signal()
