"""What every adapter of the store promises about intents and events, and about the claims of the sweep."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace
from support.records import NOW, apply, at, at_once, ended, finish, record, start, submit

from functions.store.ports import Store
from functions.store.values import Freeze
from functions.workflow.decision import CleanUp, CreateJob, DeleteJob, RemoveResults, Report
from functions.workflow.model import JobUid, Limits, Stage, Waiting
from functions.workflow.observation import DeleteRequested, StageLost, StageStuck, StopRequested, Tick


def test_intents_stay_open_in_their_order_until_they_are_closed(store: Store) -> None:
    new = record()
    workflow = start(store, replace(new, workflow=replace(new.workflow, reported=True)))
    with store.begin() as tx:
        intents = tx.intents(workflow.id)
        effects = [intent.effect for intent in intents]
        assert effects == [Report(), CreateJob(Stage.CONFIGURE, 1), Report()]
        assert {(i.workflow, i.tries, i.due_at) for i in intents} == {(workflow.id, 0, NOW)}
        for intent in intents:
            tx.close(intent)
        assert list(tx.intents(workflow.id)) == []


def test_recording_a_job_closes_its_creation(store: Store) -> None:
    workflow = start(store)
    with store.begin() as tx:
        (intent,) = tx.intents(workflow.id)
        tx.record_job(intent, JobUid("uid-1"), NOW)
    assert store.state(workflow.id) == replace(workflow, job_uid=JobUid("uid-1"), job_created_at=NOW)
    (attempt,) = store.attempts(workflow.id)
    assert attempt.job_uid == "uid-1"


def test_a_job_recorded_late_does_not_become_the_current_one(store: Store) -> None:
    workflow = start(store)
    with store.begin() as tx:
        (intent,) = tx.intents(workflow.id)
    moved = apply(store, workflow.id, ended(workflow), at(1)).workflow
    with store.begin() as tx:
        tx.record_job(intent, JobUid("uid-1"), NOW)
    assert store.state(workflow.id) == moved
    assert [attempt.job_uid for attempt in store.attempts(workflow.id)] == ["uid-1", None]


def test_closing_an_intent_twice_changes_nothing(store: Store) -> None:
    workflow = start(store)
    with store.begin() as tx:
        (intent,) = tx.intents(workflow.id)
    for _ in range(2):
        with store.begin() as tx:
            tx.record_job(intent, JobUid("uid-1"), NOW)
            tx.postpone(intent, at(1))
            assert list(tx.intents(workflow.id)) == []


@pytest.mark.parametrize("seen", [StopRequested(), DeleteRequested()])
def test_halting_deletes_open_creations(store: Store, seen: StopRequested | DeleteRequested) -> None:
    workflow = start(store)
    apply(store, workflow.id, seen, at(1))
    with store.begin() as tx:
        assert [intent.effect for intent in tx.intents(workflow.id)] == [DeleteJob(Stage.CONFIGURE, 1)]


def test_a_finished_workflow_has_only_clean_up_intents(store: Store) -> None:
    workflow = start(store)
    apply(store, workflow.id, DeleteRequested(), at(1))
    with store.begin() as tx:
        for intent in tx.intents(workflow.id):
            tx.close(intent)
    finish(store, workflow, now=at(2))
    with store.begin() as tx:
        assert [intent.effect for intent in tx.intents(workflow.id)] == [CleanUp(), RemoveResults()]


def test_the_sweep_claims_a_fresh_intent_after_the_grace_and_only_once(store: Store) -> None:
    workflow = start(store)
    assert list(store.claim_intents(at(1), at(31), 10)) == []
    assert list(store.claim_intents(at(11), at(41), 10)) == [workflow.id]
    assert list(store.claim_intents(at(12), at(42), 10)) == []
    assert list(store.claim_intents(at(41), at(71), 10)) == [workflow.id]


def test_the_sweep_claims_a_retry_when_its_pause_is_over(store: Store) -> None:
    workflow = start(store)
    with store.begin() as tx:
        for intent in tx.intents(workflow.id):
            tx.record_job(intent, JobUid("uid-1"), NOW)
    apply(store, workflow.id, StageLost(Stage.CONFIGURE, 1), at(0))
    with store.begin() as tx:
        for intent in tx.intents(workflow.id):
            tx.record_job(intent, JobUid("uid-2"), NOW)
    apply(store, workflow.id, StageLost(Stage.CONFIGURE, 2), at(100))
    assert list(store.claim_intents(at(159), at(200), 10)) == []
    assert list(store.claim_intents(at(160), at(200), 10)) == [workflow.id]


def test_a_failed_try_does_not_move_the_due_time_of_an_intent(store: Store) -> None:
    workflow = start(store)
    with store.begin() as tx:
        (first,) = tx.intents(workflow.id)
        tx.record_job(first, JobUid("uid-1"), NOW)
    apply(store, workflow.id, StageLost(Stage.CONFIGURE, 1), at(100))
    with store.begin() as tx:
        (further,) = tx.intents(workflow.id)
        tx.postpone(further, at(500))
        (again,) = tx.intents(workflow.id)
    store.claim_intents(at(500), at(530), 10)
    with store.begin() as tx:
        (claimed,) = tx.intents(workflow.id)
    assert first.due_at == NOW
    assert [intent.due_at for intent in (further, again, claimed)] == [at(110)] * 3


def test_the_waiting_reason_and_the_start_of_the_container_are_stored(store: Store) -> None:
    workflow = start(store)
    with store.begin() as tx:
        (creation,) = tx.intents(workflow.id)
        tx.record_job(creation, JobUid("uid-1"), at(0))
    stuck = StageStuck(Stage.CONFIGURE, 1, None, "Unschedulable", at(0))
    assert apply(store, workflow.id, stuck, at(1)).workflow == store.state(workflow.id)
    seen = store.state(workflow.id)
    assert seen is not None
    assert seen.waiting == Waiting("Unschedulable", at(0))
    apply(store, workflow.id, Tick(runs_since=at(3)), at(5))
    seen = store.state(workflow.id)
    assert seen is not None
    assert (seen.waiting, seen.runs_since) == (None, at(3))


def test_a_postponed_intent_counts_a_try_and_is_claimed_later(store: Store) -> None:
    workflow = start(store)
    with store.begin() as tx:
        (intent,) = tx.intents(workflow.id)
        tx.postpone(intent, at(100))
    with store.begin() as tx:
        (again,) = tx.intents(workflow.id)
    assert again == replace(intent, tries=1)
    assert list(store.claim_intents(at(99), at(200), 10)) == []
    assert list(store.claim_intents(at(100), at(200), 10)) == [workflow.id]


def test_a_batch_holds_as_many_workflows_as_asked_for(store: Store) -> None:
    for _ in range(3):
        new = record()
        start(store, replace(new, workflow=replace(new.workflow, reported=True)))  # three intents each
    claimed = store.claim_intents(at(60), at(90), 3)
    assert len(set(claimed)) == len(claimed) == 3


def test_an_event_is_claimed_until_it_is_closed(store: Store) -> None:
    workflow = start(store)
    (event,) = store.claim_events(NOW, at(30), 10)
    assert (event.workflow, event.kind, event.tries, event.due_at) == (workflow.id, "started", 1, NOW)
    assert list(store.claim_events(at(29), at(60), 10)) == []
    store.close_event(event)
    assert list(store.claim_events(at(9999), at(10000), 10)) == []


def test_an_event_about_a_scope_is_claimed_like_any_other_and_shown_once_it_has_failed(store: Store) -> None:
    start(store)
    with store.begin() as tx:
        assert tx.freeze(Freeze("all", NOW, "operator", ""))
        assert not tx.freeze(Freeze("all", at(1), "operator", "again"))
        tx.tell("frozen", "all", NOW)
        assert tx.unfreeze("all")
        assert not tx.unfreeze("all")
    assert list(store.undelivered(10)) == []
    events = sorted(store.claim_events(NOW, at(30), 10), key=lambda event: event.id)
    assert [(each.kind, each.workflow == "", each.scope) for each in events] == [
        ("started", False, ""),
        ("frozen", True, "all"),
    ]
    assert list(store.undelivered(10)) == events[1:]
    store.close_event(events[1])
    assert list(store.undelivered(10)) == []


def test_the_pause_between_deliveries_doubles_up_to_an_hour(store: Store) -> None:
    start(store)
    now = NOW
    for tries, rest in enumerate((0, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600), start=1):
        (event,) = store.claim_events(now, now, 10)
        assert event.tries == tries
        if rest:
            assert list(store.claim_events(now + timedelta(seconds=rest - 1), now, 10)) == []
        now += timedelta(seconds=rest)


def test_a_due_workflow_is_claimed_once(store: Store) -> None:
    early, late = submit(store, record(limits=Limits(queue_seconds=10))), submit(store, record(at(100)))
    assert list(store.claim_workflows(at(9), at(40), 10)) == []
    assert list(store.claim_workflows(at(10), at(40), 10)) == [replace(early, wake_at=at(40))]
    assert list(store.claim_workflows(at(20), at(50), 10)) == []
    assert store.state(late.id) == late


def test_finished_workflows_are_claimed_only_when_their_results_expire(store: Store) -> None:
    finish(store, start(store))
    kept = finish(store, start(store, record(limits=Limits(storage_expiry=100))))
    assert [workflow.id for workflow in store.claim_workflows(at(10**6), at(10**6 + 30), 10)] == [kept.id]


def test_concurrent_sweeps_share_the_work(store: Store) -> None:
    workflows = {start(store).id for _ in range(40)}
    claims = at_once(8, lambda _: [w.id for w in store.claim_workflows(at(60), at(90), 10)])
    claimed = [id_ for claim in claims for id_ in claim]
    assert all(len(claim) <= 10 for claim in claims)
    rest = [w.id for w in store.claim_workflows(at(60), at(90), 100)]
    assert sorted(claimed + rest) == sorted(workflows)
    intents = [id_ for claim in at_once(8, lambda _: store.claim_intents(at(60), at(90), 10)) for id_ in claim]
    rest = list(store.claim_intents(at(60), at(90), 100))
    assert sorted(intents + rest) == sorted(workflows)
    events = [e.workflow for claim in at_once(8, lambda _: store.claim_events(at(60), at(90), 10)) for e in claim]
    rest = [event.workflow for event in store.claim_events(at(60), at(90), 100)]
    assert sorted(events + rest) == sorted(workflows)
