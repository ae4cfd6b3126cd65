"""What every adapter of the store promises of the tick: its one row, its locks, and what is due."""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Event, Thread

import pytest
from msgspec.structs import replace
from support.records import NOW, apply, at, ended, finish, record, start, submit
from support.world import assemble
from support.world import record as new_record

from functions.store.ports import Store
from functions.store.sql import SqlStore
from functions.store.values import Tick
from functions.workflow.decision import Decision, Verdict
from functions.workflow.model import Phase, Stage, WorkflowId
from functions.workflow.tick import FAST_WITHIN, HOURLY_WITHIN, MEDIUM_WITHIN, TickLevel

MICROSECOND = timedelta(microseconds=1)
ASLEEP = Tick(TickLevel.NONE, TickLevel.NONE)
AWAKE = Tick(TickLevel.FAST, TickLevel.SLOW)


def saved(store: Store) -> Tick:
    with store.begin() as tx:
        return tx.lock_tick()


def save(store: Store, tick: Tick) -> None:
    with store.begin() as tx:
        tx.save_tick(tick)


def test_a_new_record_has_no_tick(store: Store) -> None:
    assert saved(store) == ASLEEP


def test_the_tick_is_kept_and_what_rolls_back_is_not(store: Store) -> None:
    save(store, AWAKE)
    with pytest.raises(ZeroDivisionError), store.begin() as tx:  # noqa: PT012
        tx.save_tick(ASLEEP)
        raise ZeroDivisionError
    assert saved(store) == AWAKE


def test_a_lock_of_a_workflow_and_of_slots_reads_the_level(store: Store) -> None:
    workflow = start(store)
    save(store, AWAKE)
    with store.begin() as tx:
        tx.lock(workflow.id)
        assert tx.tick_level is TickLevel.FAST
    with store.begin() as tx:
        tx.slots("ocean-compute")
        assert tx.tick_level is TickLevel.FAST
        tx.lock(WorkflowId("nobody"))


def test_only_a_fast_tick_can_be_held(store: Store) -> None:
    for level in TickLevel:
        save(store, Tick(level, level))
        with store.begin() as tx:
            assert tx.hold_fast_tick() is (level is TickLevel.FAST)


def level(store: Store, now: datetime) -> TickLevel:
    with store.begin() as tx:
        return tx.backlog(now)


def test_the_backlog_follows_what_is_due_and_what_is_unfinished(store: Store) -> None:
    assert level(store, NOW) is TickLevel.NONE
    waiting = submit(store, record())  # waits in the queue for a day
    assert level(store, NOW) is TickLevel.SLOW
    assert waiting.wake_at is not None
    assert level(store, waiting.wake_at - MEDIUM_WITHIN) is TickLevel.SLOW
    assert level(store, waiting.wake_at - FAST_WITHIN) is TickLevel.MEDIUM
    assert level(store, waiting.wake_at - FAST_WITHIN + MICROSECOND) is TickLevel.FAST
    start(store, record(agreement="0xother"))
    assert level(store, NOW) is TickLevel.FAST


def test_held_results_need_no_tick_until_the_hourly_one_would_come_too_late(store: Store) -> None:
    workflow = start(store)
    until = at(86_400)
    held = replace(workflow, phase=Phase.HELD, attempt=0, wake_at=until, deadline=until)
    with store.begin() as tx:
        tx.save(Decision(held, Verdict.UNCHANGED), "test")
        for intent in tx.intents(workflow.id):
            tx.close(intent)
    for event in store.claim_events(at(10), at(10), 10):
        store.close_event(event)
    assert level(store, NOW) is TickLevel.NONE
    assert level(store, until - HOURLY_WITHIN) is TickLevel.NONE
    assert level(store, until - HOURLY_WITHIN + MICROSECOND) is TickLevel.SLOW
    assert level(store, until) is TickLevel.FAST


def test_results_that_expire_are_no_backlog_but_an_open_intent_is(store: Store) -> None:
    workflow = start(store)
    finish(store, workflow)
    with store.begin() as tx:
        intents = tx.intents(workflow.id)
    assert intents
    assert level(store, NOW) is TickLevel.FAST
    with store.begin() as tx:
        for intent in intents:
            tx.close(intent)
    for event in store.claim_events(at(10**6), at(10**6), 10):
        store.close_event(event)
    assert level(store, at(10**9)) is TickLevel.NONE


def test_whoever_lowers_the_tick_waits_for_those_who_hold_it_and_they_do_not_wait_for_each_other(
    postgres_url: str,
) -> None:
    """On SQLite and in memory one transaction keeps all others out."""
    store = SqlStore(postgres_url)
    save(store, Tick(TickLevel.FAST, TickLevel.FAST))
    lowered = Event()

    def lower() -> None:
        save(store, ASLEEP)
        lowered.set()

    with store.begin() as one, store.begin() as other:
        assert one.hold_fast_tick()
        assert other.hold_fast_tick()
        thread = Thread(target=lower)
        thread.start()
        assert not lowered.wait(0.3)
    thread.join(timeout=10)
    assert lowered.is_set()
    with store.begin() as tx:
        assert not tx.hold_fast_tick()
    store.close()


def test_a_sweep_that_leaves_the_level_does_not_wait_for_submissions_that_hold_it(postgres_url: str) -> None:
    store = SqlStore(postgres_url)
    app = assemble(store=store)
    app.transitions.submit(new_record(app, 1), "test")
    with store.begin() as submission:
        assert submission.hold_fast_tick()
        app.transitions.tick.settle(TickLevel.FAST)
    assert saved(store) == Tick(TickLevel.FAST, TickLevel.FAST)
    store.close()


def test_a_transition_does_not_wait_for_the_locked_tick(postgres_url: str) -> None:
    store = SqlStore(postgres_url)
    workflow = start(store)
    with store.begin() as sweep:
        sweep.lock_tick()
        apply(store, workflow.id, ended(workflow), at(5))
    state = store.state(workflow.id)
    assert state is not None
    assert state.stage is Stage.ALGORITHM
    store.close()
