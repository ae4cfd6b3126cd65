"""Follows the log of a stage: from its Jobs while they exist, through all attempts, to the end of the stage.

A position, `<job>:<bytes>`, says how much of the log a client has. A stream that broke off continues from it.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, NamedTuple

from msgspec.structs import replace

from functions.cluster.ports import job_ref
from functions.errors import Unavailable
from functions.store.values import Attempt
from functions.workflow.model import Phase, Stage, Workflow, WorkflowId

if TYPE_CHECKING:
    from functions.engine.app import App

PAUSE = 1.0  # seconds between two checks for a log, or for the end of its stage
_POSITION = re.compile(r"(?:([0-9]{1,4}):)?([0-9]{1,15})")
_ORDER = list(Stage)


class Position(NamedTuple):
    """How much of a log a client has: `offset` bytes of the log of the stage's nth Job. `job` 0 is the newest Job."""

    job: int = 0
    offset: int = 0

    def __str__(self) -> str:
        return f"{self.job}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """Read `<bytes>` or `<job>:<bytes>`. Raises ValueError."""
        found = _POSITION.fullmatch(text)
        if found is None:
            raise ValueError(f"{text!r} is not a position: expected bytes, or <job>:<bytes>")
        return cls(int(found[1] or 0), int(found[2]))


class LogStream:
    """Yields the pieces of one stage's log until the stage is over, and b"" while nothing is printed.

    `position`: the end of the last piece. `missed`: the last Job was gone before its log could be read.
    """

    def __init__(
        self,
        app: App,
        workflow: WorkflowId,
        stage: Stage,
        since: Position,
        pause: Callable[[float], object] = time.sleep,
    ) -> None:
        self.position = since
        self.over = False
        self.missed = False
        self._app = app
        self._workflow = workflow
        self._stage = stage
        self._pause = pause
        self._read_to_its_end = 0  # the last Job whose log was read whole

    def __iter__(self) -> Iterator[bytes]:
        while not self.over:
            with suppress(Unavailable):  # the log goes on where it broke off
                yield from self._look()
            if not self.over:
                yield b""
                self._pause(PAUSE)

    def _look(self) -> Iterator[bytes]:
        """Yield what can be read now. The state is read first, so what was printed before a stage's end is not lost."""
        app = self._app
        workflow = app.store.state(self._workflow)
        attempts = [each for each in app.store.attempts(self._workflow) if each.stage is self._stage]
        if self.position.job == 0 and attempts:
            self.position = Position(len(attempts), self.position.offset)
        first = max(self.position.job, self._read_to_its_end + 1)
        for number, attempt in enumerate(attempts, 1):
            if workflow is not None and number >= first:
                yield from self._follow(workflow, number, attempt)
        self.over = workflow is None or _is_over(workflow, self._stage)

    def _follow(self, workflow: Workflow, number: int, attempt: Attempt) -> Iterator[bytes]:
        if number != self.position.job:
            self.position = Position(number)
        ref = job_ref(workflow, self._stage, attempt.attempt, self._app.environments, attempt.executor)
        opened = False
        for chunk in self._app.cluster.follow(replace(ref, uid=attempt.job_uid), self.position.offset):
            opened = True
            self.position = Position(number, self.position.offset + len(chunk))
            yield chunk
        self.missed = not opened
        if opened or attempt.end is not None:
            self._read_to_its_end = number


def _is_over(workflow: Workflow, stage: Stage) -> bool:
    """Whether the stage has ended for good: neither it nor a further attempt of it can print anything."""
    if workflow.finished or workflow.phase is Phase.QUEUED:
        return workflow.finished
    current = workflow.stage or Stage.RELEASE  # what comes next while results are held
    return _ORDER.index(stage) < _ORDER.index(current)
