"""F16, F44: several deciders at once, over two processes and a real Postgres; an old revision beside a new one."""

from __future__ import annotations

import http.client
import json
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from support.api import API
from support.review import HOLD_SECONDS, HeldWorld, signed_decision
from support.served import one_served

from functions.advance.sweep import sweep
from functions.store import rows
from functions.store.ports import Store
from functions.store.sql import SqlStore
from functions.workflow.model import Phase, Stage, WorkflowId

ROUNDS = 10
ENDS = ("release", "finished")  # phases to which a decision leads
Body = Mapping[str, Any]


@pytest.fixture
def doors(postgres_url: str, tmp_path: Path) -> Iterator[Sequence[int]]:
    """The ports of two processes of `submit` on one database."""
    variables = {
        "DATABASE_URL": postgres_url,
        "SLUICE_CLUSTER": "memory",
        "RESULTS_URL": (tmp_path / "results").as_uri(),
        "QUARANTINE_URL": (tmp_path / "quarantine").as_uri(),
        "LOG_LEVEL": "ERROR",
    }
    with one_served("submit", **variables) as (one, _), one_served("submit", **variables) as (other, _):
        yield one, other


def ask(port: int, body: Body) -> tuple[int, Any]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", f"{API}/decisions", json.dumps(body), {"Content-Type": "application/json"})
        answered = connection.getresponse()
        return answered.status, json.loads(answered.read())


def all_at_once(doors: Sequence[int], bodies: Sequence[Body]) -> list[tuple[int, Any]]:
    """Send each body to one of the doors, all at the same moment; the answers in the order of the bodies."""
    start = threading.Barrier(len(bodies))

    def send(number: int) -> tuple[int, Any]:
        start.wait()
        return ask(doors[number % len(doors)], bodies[number])

    with ThreadPoolExecutor(len(bodies)) as pool:
        return list(pool.map(send, range(len(bodies))))


def held(world: HeldWorld, approvals: int = 1) -> tuple[WorkflowId, str]:
    w = world.until_held(approvals)
    waiting = world.app.store.held(w)
    assert waiting is not None
    return w, waiting.head


def endings(world: HeldWorld, w: WorkflowId) -> list[str]:
    """The lines of the history that follow from decisions."""
    return [line for line in world.lines(w) if line in ("release decided", "rejected")]


def test_f44_of_a_release_and_a_rejection_at_once_one_wins_and_the_other_is_told(
    postgres_url: str, doors: Sequence[int]
) -> None:
    won: Counter[str] = Counter()
    with closing(SqlStore(postgres_url)) as store:
        world = HeldWorld(store)
        for _ in range(ROUNDS):
            w, head = held(world)
            answers = all_at_once(doors, [signed_decision(w, head, 0), signed_decision(w, head, 1, "reject")])
            (lost,) = ((status, body["error"]) for status, body in answers if status != 200)
            assert lost in (
                *((409, f"job {w} no longer waits for a decision: its phase is {phase}") for phase in ENDS),
                (404, f"no results of a job {w} are held"),  # it came so late that a rejection had ended the job
            )
            (line,) = endings(world, w)
            assert line == ("release decided" if answers[0][0] == 200 else "rejected")
            assert len(store.decisions(w)) == 1
            won[line] += 1
    print(f"\n{dict(won)}")


def test_f44_two_releases_of_two_that_are_needed_at_once_release_once(postgres_url: str, doors: Sequence[int]) -> None:
    with closing(SqlStore(postgres_url)) as store:
        world = HeldWorld(store)
        for _ in range(ROUNDS):
            w, head = held(world, approvals=2)
            answers = all_at_once(doors, [signed_decision(w, head, 0), signed_decision(w, head, 1)])
            assert sorted((status, body["state"]) for status, body in answers) == [(200, "pending"), (200, "released")]
            assert endings(world, w) == ["release decided"]
            attempts = [each for each in store.attempts(w) if each.stage is Stage.RELEASE]
            assert len(attempts) == 1


def test_f44_a_decision_that_is_sent_eight_times_at_once_counts_once(postgres_url: str, doors: Sequence[int]) -> None:
    with closing(SqlStore(postgres_url)) as store:
        world = HeldWorld(store)
        w, head = held(world, approvals=2)
        answers = all_at_once(doors, [signed_decision(w, head, 0)] * 8)
        assert sorted(status for status, _ in answers) == [200, *[403] * 7], answers
        assert all("has decided already" in body["error"] for status, body in answers if status == 403)
        assert (world.state(w).phase, len(store.decisions(w))) == (Phase.HELD, 1)


class OldPhase(StrEnum):
    """The phases of a revision that knows no holds."""

    QUEUED = "queued"
    CONFIGURE = "configure"
    ALGORITHM = "algorithm"
    FILTER = "filter"
    PUBLISH = "publish"
    FINISHED = "finished"


def test_f16_a_revision_that_knows_no_holds_leaves_held_workflows_alone_and_serves_the_others(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = HeldWorld(store)
    w, head = held(world)
    world.clock.sleep(HOLD_SECONDS - 300)  # a sweep must look at the hold before its end
    other = world.submit()
    world.end_job(other)
    world.events.clear()
    world.clock.sleep(90)
    with monkeypatch.context() as old:
        old.setattr(rows, "Phase", OldPhase)
        sweep(world.app)
    assert world.state(other).phase is Phase.ALGORITHM
    assert world.state(w).phase is Phase.HELD
    assert world.decide(signed_decision(w, head)) == 200
    world.run(w)
    assert world.state(w).finished
    assert world.state(w).ending is None
