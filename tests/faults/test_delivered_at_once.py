"""F2, F17, F36: the same thing sixteen times at once is one transition, on every record."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import pytest
from support.world import World, record

from functions.store.ports import AgreementInUse, Store
from functions.workflow.model import Phase

AT_ONCE = 16


def at_once(action: Callable[[], Any]) -> list[Any]:
    """Sixteen threads that start together; their answers or exceptions."""
    start = Barrier(AT_ONCE)

    def run(_: int) -> Any:
        start.wait()
        try:
            return action()
        except AgreementInUse as e:
            return e

    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(run, range(AT_ONCE)))


def test_an_event_delivered_sixteen_times_at_once_is_one_transition(store: Store) -> None:
    for _ in range(20):
        world = World(store=store, max_jobs=100)
        w = world.app.transitions.submit(record(world.app, world.app.new_id()), "test").workflow.id
        world.events.clear()
        world.end_job(w)
        event = world.events[0]
        at_once(lambda e=event, at=world: at.receive(*e))  # type: ignore[misc]
        assert list(world.lines(w)) == ["submitted", "admitted", "configure succeeded"]
        assert sum(world.cluster.created.values()) == 2


def test_of_sixteen_submissions_of_one_agreement_one_is_taken(store: Store) -> None:
    world = World(store=store)

    def submit() -> Any:
        new = record(world.app, world.app.new_id(), agreement="0xone")
        return world.app.transitions.submit(new, "test")

    answers = at_once(submit)
    assert sum(isinstance(answer, AgreementInUse) for answer in answers) == AT_ONCE - 1


def test_slots_hold_while_everything_is_submitted_at_once(store: Store) -> None:
    world = World(store=store, max_jobs=3)
    answers = at_once(lambda: world.app.transitions.submit(record(world.app, world.app.new_id()), "test"))
    phases = [world.state(answer.workflow.id).phase for answer in answers]
    assert phases.count(Phase.CONFIGURE) == 3
    assert phases.count(Phase.QUEUED) == AT_ONCE - 3
    assert len(world.cluster.present()) == 3


def test_sixteen_sweeps_at_once_repair_each_workflow_once(store: Store) -> None:
    world = World(store=store, max_jobs=100)
    ids = [world.app.transitions.submit(record(world.app, world.app.new_id()), "test").workflow.id for _ in range(12)]
    for w in ids:
        world.end_job(w)
    world.events.clear()
    world.clock.sleep(60)
    at_once(lambda: world.tick(0))
    assert all(world.state(w).phase is Phase.ALGORITHM for w in ids)
    assert all(list(world.lines(w))[2:] == ["configure succeeded"] for w in ids)
    assert set(world.cluster.created.values()) == {1}


@pytest.mark.parametrize("first", ["stop", "event"])
def test_a_stop_that_races_the_completion_ends_without_an_algorithm_or_deletes_it(store: Store, first: str) -> None:
    for _ in range(10):
        world = World(store=store, max_jobs=100)
        w = world.app.transitions.submit(record(world.app, world.app.new_id()), "test").workflow.id
        world.events.clear()
        world.end_job(w)
        event = world.events[0]
        actions = [lambda: world.stop(w), lambda: world.receive(*event)]  # noqa: B023 - used within this turn
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda act: act(), actions if first == "stop" else reversed(actions)))
        assert world.state(w).phase is Phase.PUBLISH
        assert [ref.stage.value for ref in world.cluster.running()] == ["publish"]
