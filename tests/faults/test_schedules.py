"""Random schedules over the real transitions: everything that can happen, in any order, with deaths in between.

F1 to F8, F10, F12, F13, F17, F18, F24, F26 to F29, F32, F34, F35, F37 and F43, mixed. Each schedule is a seed; a
failure names it. The long profile (`make faults`) runs 10 000.
"""

from __future__ import annotations

from typing import Any

import pytest
from support.chaos import Chaos
from support.schedules import LONG, run
from support.world import STAGES

from functions.workflow.decide import decide
from functions.workflow.model import Outcome, Workflow
from functions.workflow.observation import Observation, StageEnded, StageLost, StageStuck, Tick

SCHEDULES = 10_000 if LONG else 500
STEPS = 60


@pytest.mark.timeout(1800 if LONG else 300)
def test_no_schedule_breaks_an_invariant_and_all_pairs_of_state_and_observation_are_met(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    met: set[tuple[str, str]] = set()

    def watched(w: Workflow, observation: Observation, now: Any) -> Any:
        met.add((_state(w), _kind(observation)))
        return decide(w, observation, now)

    monkeypatch.setattr("functions.engine.transitions.rules.decide", watched)
    for _ in run(Chaos, SCHEDULES, STEPS):
        pass
    missing = PAIRS - met
    print(f"{len(met & PAIRS)} of {len(PAIRS)} pairs")
    assert not missing, f"never met: {sorted(missing)}"


def _state(w: Workflow) -> str:
    return f"{w.phase}{' halting' if w.halt else ''}"


def _kind(observation: Observation) -> str:
    if isinstance(observation, StageEnded):
        return f"ended {observation.outcome}"
    if isinstance(observation, Tick):
        return "suspended" if observation.suspended else "tick"
    return type(observation).__name__


RUNNING = [str(stage) for stage in STAGES]
HALTING = [f"{stage} halting" for stage in STAGES]
ENDED = [f"ended {o}" for o in (Outcome.SUCCEEDED, Outcome.FAILED, Outcome.TIMED_OUT)]
REQUESTS = ["StopRequested", "DeleteRequested", "tick"]
PAIRS = {
    *(
        (s, k)
        for s in RUNNING + HALTING
        for k in (*ENDED, *REQUESTS, StageLost.__name__, StageStuck.__name__, "suspended")
    ),
    *(("queued", k) for k in (*REQUESTS, "Admitted")),
    *(("finished", k) for k in REQUESTS),
}
