"""What every adapter of the record promises."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import pairwise
from threading import Barrier, Event, Thread
from typing import TypeVar

import pytest
from support.records import DOCUMENT, NOW, add, apply, at, ended, finish, record, start, submit

from functions.store.ports import AgreementInUse, Attempt, Query, Slots, Store
from functions.workflow import decide as rules
from functions.workflow.decision import CleanUp, CreateJob, DeleteJob, RemoveResults, Report
from functions.workflow.model import Ending, JobUid, Limits, Manifest, Outcome, Phase, ResultFile, Stage, WorkflowId
from functions.workflow.observation import (
    Admitted,
    DeleteRequested,
    StageEnded,
    StageLost,
    StageStuck,
    StopRequested,
    Tick,
)

T = TypeVar("T")
MANIFEST = Manifest(
    files=(
        ResultFile("outputs/plots/ä.svg", 12, "output", "file:///r/ä.svg", "ab" * 32, "image/svg+xml"),
        ResultFile("logs/algorithm.log", 3, "algorithmLog", "file:///r/algorithm.log"),
    ),
    admin_files=(ResultFile("adminlogs/configure.log", 7, "configrationLog", "file:///r/configure.log"),),
)


# --- one workflow ---------------------------------------------------------------------------


def test_a_record_comes_back_as_it_was_added(store: Store) -> None:
    limits = Limits(algorithm_seconds=7, filtered=True, cpu=0.5, memory=1 << 40, gpus=2)
    new = record(limits=limits, idempotency_key="k", origin="ns/name")
    workflow = submit(store, new)
    assert store.get(workflow.id) == replace(new, workflow=workflow)
    assert store.state(workflow.id) == workflow


def test_a_workflow_that_starts_at_once_is_added_with_both_of_its_decisions(store: Store) -> None:
    new = record()
    submitted = rules.submit(new.workflow, NOW)
    admitted = rules.decide(submitted.workflow, Admitted(), at(1))
    with store.begin() as tx:
        tx.add(new, [(submitted, "somebody"), (admitted, "admission")])
    assert store.get(new.workflow.id) == replace(new, workflow=admitted.workflow)
    lines = [*submitted.lines, *admitted.lines]
    assert store.history(new.workflow.id) == list(zip(lines, ["somebody", "admission"], strict=True))
    assert list(store.attempts(new.workflow.id)) == [Attempt(Stage.CONFIGURE, 1, at(1))]
    with store.begin() as tx:
        assert [intent.effect for intent in tx.intents(new.workflow.id)] == [CreateJob(Stage.CONFIGURE, 1)]


def test_every_field_of_the_state_is_kept(store: Store) -> None:
    workflow = start(store, replace(new := record(), workflow=replace(new.workflow, reported=True)))
    halted = apply(store, workflow.id, DeleteRequested(), at(1)).workflow
    assert halted.halt is not None
    assert store.state(workflow.id) == halted
    failed = replace(
        halted, halt=None, ending=Ending(41, "OOMKilled", 137, True), expired=True, job_uid=JobUid("u"), removed=False
    )
    with store.begin() as tx:
        tx.save(replace(rules.decide(halted, Tick(), at(2)), workflow=failed), "test")
    assert store.state(workflow.id) == failed


def test_an_unknown_workflow_is_none(store: Store) -> None:
    unknown = WorkflowId("nobody")
    with store.begin() as tx:
        assert tx.lock(unknown) is None
        assert tx.record(unknown) is None
        assert list(tx.intents(unknown)) == []
    assert store.get(unknown) is None
    assert store.state(unknown) is None
    assert list(store.history(unknown)) == []
    assert list(store.attempts(unknown)) == []


def test_a_whole_life_leaves_a_gapless_history_and_every_attempt(store: Store) -> None:
    workflow = start(store)
    seen = StageEnded(Stage.CONFIGURE, 1, None, Outcome.FAILED, 9, "DataUnavailable")
    retried = apply(store, workflow.id, seen, at(1)).workflow
    done = finish(store, retried, MANIFEST, at(2))
    lines = store.history(workflow.id)
    assert [line.step for line, _ in lines] == list(range(1, done.step + 1))
    assert [line.after for line, _ in lines] == [
        Phase.QUEUED,
        Phase.CONFIGURE,
        Phase.CONFIGURE,
        Phase.ALGORITHM,
        Phase.PUBLISH,
        Phase.FINISHED,
    ]
    assert all(earlier.after is later.before for (earlier, _), (later, _) in pairwise(lines))
    assert [cause for _, cause in lines[:3]] == ["test", "event Admitted", "event StageEnded"]
    assert lines[2][0].reason == "DataUnavailable"
    attempts = store.attempts(workflow.id)
    assert [(a.stage, a.attempt, a.end.outcome if a.end else None) for a in attempts] == [
        (Stage.CONFIGURE, 1, Outcome.FAILED),
        (Stage.CONFIGURE, 2, Outcome.SUCCEEDED),
        (Stage.ALGORITHM, 1, Outcome.SUCCEEDED),
        (Stage.PUBLISH, 1, Outcome.SUCCEEDED),
    ]
    first = attempts[0]
    assert first.end is not None
    assert (first.created_at, first.end.at, first.end.exit_code) == (NOW, at(1), 9)


def test_results_are_listed_as_published(store: Store) -> None:
    workflow = start(store)
    before = store.get(workflow.id)
    assert before is not None
    assert before.manifest == Manifest()
    finish(store, workflow, MANIFEST)
    after = store.get(workflow.id)
    assert after is not None
    assert after.manifest == MANIFEST
    apply(store, workflow.id, DeleteRequested(), at(9))  # a later decision without a manifest leaves it
    assert store.get(workflow.id) is not None
    assert store.get(workflow.id).manifest == MANIFEST  # type: ignore[union-attr]


def test_a_look_that_changes_nothing_but_the_next_look_is_stored_without_a_line(store: Store) -> None:
    workflow = start(store)
    decision = apply(store, workflow.id, Tick(), at(5))
    assert not decision.lines
    assert store.state(workflow.id) == replace(workflow, wake_at=at(15))
    assert len(store.history(workflow.id)) == workflow.step


def test_nothing_of_a_transaction_that_raises_is_kept(store: Store) -> None:
    workflow = start(store)
    before = store.get(workflow.id), store.history(workflow.id), store.attempts(workflow.id)
    other = record()
    with pytest.raises(ZeroDivisionError), store.begin() as tx:  # noqa: PT012
        add(tx, other)
        current = tx.lock(workflow.id)
        assert current is not None
        tx.save(rules.decide(current, ended(current), at(1)), "test")
        for intent in tx.intents(workflow.id):
            tx.record_job(intent, JobUid("u"), NOW)
        assert tx.use_nonce("0xa", 5)
        raise ZeroDivisionError
    assert (store.get(workflow.id), store.history(workflow.id), store.attempts(workflow.id)) == before
    assert store.get(other.workflow.id) is None
    with store.begin() as tx:
        assert [intent.effect for intent in tx.intents(workflow.id)] == [CreateJob(Stage.CONFIGURE, 1)]
        assert tx.use_nonce("0xa", 5)


def test_a_transaction_sees_its_own_changes(store: Store) -> None:
    with store.begin() as tx:
        first, second = add(tx, record(at(0))), add(tx, record(at(1)))
        assert tx.slots("ocean-compute").taken == 0
        tx.save(rules.decide(first, Admitted(), at(2)), "test")
        assert tx.slots("ocean-compute").taken == 1
        oldest = tx.oldest_queued("ocean-compute")
        assert oldest == second


# --- intents --------------------------------------------------------------------------------


def test_effects_wait_as_intents_in_their_order_until_they_are_closed(store: Store) -> None:
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


def test_closing_a_creation_records_its_job(store: Store) -> None:
    workflow = start(store)
    with store.begin() as tx:
        (intent,) = tx.intents(workflow.id)
        tx.record_job(intent, JobUid("uid-1"), NOW)
    assert store.state(workflow.id) == replace(workflow, job_uid=JobUid("uid-1"), job_created_at=NOW)
    (attempt,) = store.attempts(workflow.id)
    assert attempt.job_uid == "uid-1"


def test_a_job_that_is_created_late_is_not_taken_for_the_current_one(store: Store) -> None:
    workflow = start(store)
    with store.begin() as tx:
        (intent,) = tx.intents(workflow.id)
    moved = apply(store, workflow.id, ended(workflow), at(1)).workflow
    with store.begin() as tx:
        tx.record_job(intent, JobUid("uid-1"), NOW)
    assert store.state(workflow.id) == moved
    assert [attempt.job_uid for attempt in store.attempts(workflow.id)] == ["uid-1", None]


def test_a_closed_intent_may_be_closed_again(store: Store) -> None:
    workflow = start(store)
    with store.begin() as tx:
        (intent,) = tx.intents(workflow.id)
    for _ in range(2):
        with store.begin() as tx:
            tx.record_job(intent, JobUid("uid-1"), NOW)
            tx.postpone(intent, at(1))
            assert list(tx.intents(workflow.id)) == []


@pytest.mark.parametrize("seen", [StopRequested(), DeleteRequested()])
def test_halting_drops_creations_that_were_not_carried_out(store: Store, seen: StopRequested | DeleteRequested) -> None:
    workflow = start(store)
    apply(store, workflow.id, seen, at(1))
    with store.begin() as tx:
        assert [intent.effect for intent in tx.intents(workflow.id)] == [DeleteJob(Stage.CONFIGURE, 1)]


def test_finishing_leaves_only_the_cleaning_up(store: Store) -> None:
    workflow = start(store)
    apply(store, workflow.id, DeleteRequested(), at(1))
    with store.begin() as tx:
        for intent in tx.intents(workflow.id):
            tx.close(intent)
    finish(store, workflow, now=at(2))
    with store.begin() as tx:
        assert [intent.effect for intent in tx.intents(workflow.id)] == [CleanUp(), RemoveResults()]


def test_a_fresh_intent_is_left_to_its_handler_and_then_claimed_once(store: Store) -> None:
    workflow = start(store)
    assert list(store.claim_intents(at(1), at(31), 10)) == []
    assert list(store.claim_intents(at(11), at(41), 10)) == [workflow.id]
    assert list(store.claim_intents(at(12), at(42), 10)) == []
    assert list(store.claim_intents(at(41), at(71), 10)) == [workflow.id]


def test_the_creation_of_a_further_attempt_is_claimed_when_its_pause_is_over(store: Store) -> None:
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


def test_an_intent_tells_when_its_effect_is_due_and_a_failed_try_does_not_change_that(store: Store) -> None:
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


def test_what_is_seen_of_a_container_is_kept(store: Store) -> None:
    workflow = start(store)
    with store.begin() as tx:
        (creation,) = tx.intents(workflow.id)
        tx.record_job(creation, JobUid("uid-1"), at(0))
    stuck = StageStuck(Stage.CONFIGURE, 1, None, "Unschedulable", at(0))
    assert apply(store, workflow.id, stuck, at(1)).workflow == store.state(workflow.id)
    seen = store.state(workflow.id)
    assert seen is not None
    assert seen.waiting == "Unschedulable"
    apply(store, workflow.id, Tick(runs_since=at(3)), at(5))
    seen = store.state(workflow.id)
    assert seen is not None
    assert (seen.waiting, seen.runs_since) == ("", at(3))


def test_a_postponed_intent_counts_a_try_and_rests(store: Store) -> None:
    workflow = start(store)
    with store.begin() as tx:
        (intent,) = tx.intents(workflow.id)
        tx.postpone(intent, at(100))
    with store.begin() as tx:
        (again,) = tx.intents(workflow.id)
    assert again == replace(intent, tries=1)
    assert list(store.claim_intents(at(99), at(200), 10)) == []
    assert list(store.claim_intents(at(100), at(200), 10)) == [workflow.id]


def test_a_batch_of_intents_is_full_though_a_workflow_has_several(store: Store) -> None:
    for _ in range(3):
        new = record()
        start(store, replace(new, workflow=replace(new.workflow, reported=True)))  # three intents each
    claimed = store.claim_intents(at(60), at(90), 3)
    assert len(set(claimed)) == len(claimed) == 3


# --- events ---------------------------------------------------------------------------------


def test_an_event_is_claimed_until_it_is_closed(store: Store) -> None:
    workflow = start(store)
    (event,) = store.claim_events(NOW, at(30), 10)
    assert (event.workflow, event.kind, event.tries, event.due_at) == (workflow.id, "started", 1, NOW)
    assert list(store.claim_events(at(29), at(60), 10)) == []
    store.close_event(event)
    assert list(store.claim_events(at(9999), at(10000), 10)) == []


def test_an_event_that_nobody_takes_rests_longer_with_each_try(store: Store) -> None:
    start(store)
    now = NOW
    for tries, rest in enumerate((0, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600), start=1):
        (event,) = store.claim_events(now, now, 10)
        assert event.tries == tries
        if rest:
            assert list(store.claim_events(now + timedelta(seconds=rest - 1), now, 10)) == []
        now += timedelta(seconds=rest)


# --- locks ----------------------------------------------------------------------------------


def test_an_agreement_has_one_live_workflow(store: Store) -> None:
    workflow = start(store, record(agreement="0xagr"))
    with pytest.raises(AgreementInUse):
        submit(store, record(agreement="0xagr"))
    finish(store, workflow)
    submit(store, record(agreement="0xagr"))
    assert len(store.find(Query(agreement_id="0xagr"))) == 2


def test_of_twenty_submissions_of_one_agreement_at_once_one_is_recorded(store: Store) -> None:
    def attempt(_: int) -> bool:
        try:
            submit(store, record(agreement="0xagr"))
        except AgreementInUse:
            return False
        return True

    assert sum(_at_once(20, attempt)) == 1
    assert len(store.find(Query(agreement_id="0xagr"))) == 1


def test_an_idempotency_key_belongs_to_one_workflow_of_a_provider(store: Store) -> None:
    workflow = finish(store, start(store, record(idempotency_key="k")))
    with pytest.raises(AgreementInUse):
        submit(store, record(idempotency_key="k"))
    submit(store, record(idempotency_key="k", provider="0xother"))
    found = store.by_idempotency_key("0xprovider", "k")
    assert found is not None
    assert found.workflow.id == workflow.id
    assert store.by_idempotency_key("0xprovider", "other") is None


NONCE = 1_795_313_469_097_671_000


def use_nonce(store: Store, nonce: int, address: str = "0xa") -> bool:
    used = store.nonce_used(address, nonce)
    with store.begin() as tx:
        passed = tx.use_nonce(address, nonce)
    assert passed is not used
    return passed


def test_a_nonce_passes_once_in_any_order(store: Store) -> None:
    order = (NONCE, NONCE, NONCE - 1, NONCE + 1, NONCE - 1, 1)
    assert [use_nonce(store, n) for n in order] == [True, False, True, True, False, True]
    assert use_nonce(store, NONCE, "0xb")


def test_of_twenty_uses_of_one_nonce_at_once_one_passes(store: Store) -> None:
    def use(_: int) -> bool:
        with store.begin() as tx:
            return tx.use_nonce("0xa", NONCE)

    assert sum(_at_once(20, use)) == 1


def test_of_what_is_forgotten_nothing_passes_again_and_nothing_older(store: Store) -> None:
    for n in (NONCE - 20, NONCE - 10, NONCE):
        assert use_nonce(store, n)
    assert use_nonce(store, NONCE - 15, "0xb")
    for _ in range(3):
        store.prune_nonces(NONCE - 10)
        assert not any(use_nonce(store, n) for n in (1, NONCE - 20, NONCE - 15, NONCE - 10, NONCE))
    assert use_nonce(store, NONCE - 9), "above all that is forgotten"
    assert [use_nonce(store, n, "0xb") for n in (NONCE - 16, NONCE - 15, NONCE - 14)] == [False, False, True]
    assert use_nonce(store, 1, "0xc"), "of whom nothing is known"
    store.prune_nonces(1)
    assert not use_nonce(store, NONCE - 10), "nothing is remembered again"


def test_a_nonce_that_is_used_between_two_forgettings_is_not_lost(store: Store) -> None:
    """A provider whose clock is far behind: all its nonces are old enough to be forgotten."""
    for n in range(1, 6):
        assert use_nonce(store, n)
        store.prune_nonces(NONCE)
        assert not any(use_nonce(store, old) for old in range(1, n + 1))


def test_no_nonce_passes_twice_while_it_is_being_forgotten(store: Store) -> None:
    assert all(use_nonce(store, NONCE + n) for n in range(30))

    def replay(turn: int) -> bool:
        store.prune_nonces(NONCE + turn)
        with store.begin() as tx:
            return any(tx.use_nonce("0xa", NONCE + n) for n in range(30))

    assert not any(_at_once(12, replay))


def test_slots_are_never_given_twice(store: Store) -> None:
    workflows = [submit(store, record(at(n))).id for n in range(12)]

    def admit(_: int) -> list[WorkflowId]:
        admitted: list[WorkflowId] = []
        with store.begin() as tx:
            free = 4 - tx.slots("ocean-compute").taken
            while len(admitted) < free and (queued := tx.oldest_queued("ocean-compute")):
                tx.save(rules.decide(queued, Admitted(), at(60)), "test")
                admitted.append(queued.id)
        return admitted

    admitted = [workflow for batch in _at_once(12, admit) for workflow in batch]
    assert sorted(admitted) == sorted(workflows[:4])
    assert store.running() == {"ocean-compute": 4}
    finish(store, store.state(admitted[0]))  # type: ignore[arg-type]
    assert admit(0) == [workflows[4]]


def test_environments_have_their_own_slots_and_queues(store: Store) -> None:
    here, there = start(store, record(environment="a")), submit(store, record(environment="b"))
    with store.begin() as tx:
        assert [tx.slots(name) for name in "abc"] == [Slots(1, False), Slots(0, True), Slots(0, False)]
        assert tx.oldest_queued("a") is None
        assert tx.oldest_queued("b") == there
    assert list(store.queues()) == ["b"]
    assert store.running() == {"a": 1}
    finish(store, here)
    assert store.running() == {}


def test_a_lock_keeps_every_other_transaction_out(store: Store) -> None:
    workflow = start(store)
    locked, order = Event(), []

    def second() -> None:
        locked.wait()
        with store.begin() as tx:
            tx.lock(workflow.id)
            order.append("second")

    thread = Thread(target=second)
    thread.start()
    with store.begin() as tx:
        tx.lock(workflow.id)
        locked.set()
        thread.join(0.2)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]


def test_who_waited_for_a_lock_sees_what_was_committed_meanwhile(store: Store) -> None:
    workflow = start(store)
    locked, seen = Event(), []

    def second() -> None:
        locked.wait()
        with store.begin() as tx:
            seen.append(tx.lock(workflow.id))

    thread = Thread(target=second)
    thread.start()
    with store.begin() as tx:
        tx.lock(workflow.id)
        locked.set()
        thread.join(0.1)
        (intent,) = tx.intents(workflow.id)
        tx.record_job(intent, JobUid("uid-1"), NOW)
    thread.join()
    assert seen == [replace(workflow, job_uid=JobUid("uid-1"), job_created_at=NOW)]


def test_concurrent_transitions_of_one_workflow_lose_nothing(store: Store) -> None:
    workflow = start(store)
    seen = ended(workflow)
    verdicts = _at_once(16, lambda _: apply(store, workflow.id, seen, at(1)).verdict)
    assert sorted(verdicts) == ["applied", *["duplicate"] * 15]
    state = store.state(workflow.id)
    assert state is not None
    assert (state.phase, state.step) == (Phase.ALGORITHM, 3)


# --- claims ---------------------------------------------------------------------------------


def test_workflows_are_claimed_when_they_are_due_and_not_again(store: Store) -> None:
    early, late = submit(store, record(limits=Limits(queue_seconds=10))), submit(store, record(at(100)))
    assert list(store.claim_workflows(at(9), at(40), 10)) == []
    assert list(store.claim_workflows(at(10), at(40), 10)) == [replace(early, wake_at=at(40))]
    assert list(store.claim_workflows(at(20), at(50), 10)) == []
    assert store.state(late.id) == late


def test_finished_workflows_are_claimed_only_when_their_results_expire(store: Store) -> None:
    finish(store, start(store))
    kept = finish(store, start(store, record(limits=Limits(storage_expiry=100))))
    assert [workflow.id for workflow in store.claim_workflows(at(10**6), at(10**6 + 30), 10)] == [kept.id]


def test_sweeps_at_once_share_the_work(store: Store) -> None:
    workflows = {start(store).id for _ in range(40)}
    claims = _at_once(8, lambda _: [w.id for w in store.claim_workflows(at(60), at(90), 10)])
    claimed = [id_ for claim in claims for id_ in claim]
    assert all(len(claim) <= 10 for claim in claims)
    rest = [w.id for w in store.claim_workflows(at(60), at(90), 100)]
    assert sorted(claimed + rest) == sorted(workflows)
    intents = [id_ for claim in _at_once(8, lambda _: store.claim_intents(at(60), at(90), 10)) for id_ in claim]
    rest = list(store.claim_intents(at(60), at(90), 100))
    assert sorted(intents + rest) == sorted(workflows)
    events = [e.workflow for claim in _at_once(8, lambda _: store.claim_events(at(60), at(90), 10)) for e in claim]
    rest = [event.workflow for event in store.claim_events(at(60), at(90), 100)]
    assert sorted(events + rest) == sorted(workflows)


# --- lists ----------------------------------------------------------------------------------


def test_records_are_found_by_every_condition_newest_first(store: Store) -> None:
    old = submit(store, record(at(0), owner="0xA", provider="0xp"))
    done = finish(store, start(store, record(at(1), owner="0xA", agreement="0xagr"), at(1)), now=at(2))
    new = submit(store, record(at(2), owner="0xB"))

    def found(**conditions: object) -> list[str]:
        return [r.workflow.id for r in store.find(Query(**conditions))]  # type: ignore[arg-type]

    assert found() == [new.id, done.id, old.id]
    assert found(owner="0xA") == [done.id, old.id]
    assert found(owner="0xA", unfinished=True) == [old.id]
    assert found(workflow=new.id) == [new.id]
    assert found(workflow=new.id, owner="0xA") == []
    assert found(agreement_id="0xagr") == [done.id]
    assert found(chain_id="80001") == [new.id, done.id, old.id]
    assert found(chain_id="1") == []
    assert found(unfinished=True) == [new.id, old.id]
    assert found(limit=1) == [new.id]
    assert found(limit=1, offset=1) == [done.id]
    assert store.find(Query(workflow=new.id))[0].submission.document == DOCUMENT


def test_the_unfinished_among_many_are_told(store: Store) -> None:
    done, alive = finish(store, start(store)), start(store)
    assert store.unfinished([done.id, alive.id, WorkflowId("nobody")]) == {alive.id}
    assert store.unfinished([]) == set()


def test_queues_are_told_once_each(store: Store) -> None:
    for environment in ("b", "a", "b", "c"):
        submit(store, record(environment=environment))
    start(store, record(environment="d"))
    assert list(store.queues()) == ["a", "b", "c"]


def test_dead_letters_are_kept_newest_first(store: Store) -> None:
    store.add_dead_letter("e1", "bad JSON", {"type": "x"}, at(1))
    store.add_dead_letter("e2", "always fails", {"data": {"a": [1]}}, at(2))
    store.add_dead_letter("e1", "bad JSON again", {"type": "x"}, at(3))
    assert list(store.dead_letters(10)) == [
        {"event_id": "e1", "at": at(3), "reason": "bad JSON again", "event": {"type": "x"}},
        {"event_id": "e2", "at": at(2), "reason": "always fails", "event": {"data": {"a": [1]}}},
    ]
    assert len(store.dead_letters(1)) == 1


def _at_once(threads: int, action: Callable[[int], T]) -> list[T]:
    """The results of `action` in so many threads that start together."""
    ready = Barrier(threads)

    def run(number: int) -> T:
        ready.wait()
        return action(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(run, range(threads)))
