"""What every adapter of the store promises under concurrency: agreements, nonces, slots and locks."""

from __future__ import annotations

from threading import Event, Thread

import pytest
from msgspec.structs import replace
from support.records import NOW, apply, at, at_once, ended, finish, record, start, submit

from functions.store.ports import AgreementInUse, Store
from functions.store.values import Query, Slots
from functions.workflow import decide as rules
from functions.workflow.model import JobUid, Phase, WorkflowId
from functions.workflow.observation import Admitted


def test_an_agreement_has_one_unfinished_workflow(store: Store) -> None:
    workflow = start(store, record(agreement="0xagr"))
    with pytest.raises(AgreementInUse):
        submit(store, record(agreement="0xagr"))
    finish(store, workflow)
    submit(store, record(agreement="0xagr"))
    assert len(store.find(Query(agreement_id="0xagr"))) == 2


TRANSACTION = "0x" + "Ab12" * 16
SPELLINGS = (TRANSACTION, TRANSACTION[2:], TRANSACTION.lower(), "0X" + TRANSACTION[2:].upper())


@pytest.mark.parametrize("other", SPELLINGS[1:])
def test_spellings_of_one_transaction_id_are_one_agreement(store: Store, other: str) -> None:
    workflow = start(store, record(agreement=TRANSACTION))
    with pytest.raises(AgreementInUse):
        submit(store, record(agreement=other))
    finish(store, workflow)
    again = submit(store, record(at(1), agreement=other))
    for spelling in SPELLINGS:
        found = store.find(Query(agreement_id=spelling))
        assert [r.workflow.id for r in found] == [again.id, workflow.id]
        assert [r.submission.agreement_id for r in found] == [other, TRANSACTION], "shown as it was sent"


def test_agreement_ids_of_another_form_are_compared_as_they_are(store: Store) -> None:
    for agreement in ("0xAbc", "0xabc", "abc", TRANSACTION + "0", TRANSACTION[:-1] + "g", " " + TRANSACTION, "é" * 64):
        submit(store, record(agreement=agreement))
        assert len(store.find(Query(agreement_id=agreement))) == 1


def test_twenty_concurrent_submissions_of_one_agreement_record_one_workflow(store: Store) -> None:
    def attempt(_: int) -> bool:
        try:
            submit(store, record(agreement="0xagr"))
        except AgreementInUse:
            return False
        return True

    assert sum(at_once(20, attempt)) == 1
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


def test_a_nonce_is_accepted_once_in_any_order(store: Store) -> None:
    order = (NONCE, NONCE, NONCE - 1, NONCE + 1, NONCE - 1, 1)
    assert [use_nonce(store, n) for n in order] == [True, False, True, True, False, True]
    assert use_nonce(store, NONCE, "0xb")


def test_twenty_concurrent_uses_of_a_nonce_accept_one(store: Store) -> None:
    def use(_: int) -> bool:
        with store.begin() as tx:
            return tx.use_nonce("0xa", NONCE)

    assert sum(at_once(20, use)) == 1


def test_nonces_at_or_below_the_watermark_are_refused(store: Store) -> None:
    for n in (NONCE - 20, NONCE - 10, NONCE):
        assert use_nonce(store, n)
    assert use_nonce(store, NONCE - 15, "0xb")
    for _ in range(3):
        store.prune_nonces(NONCE - 10)
        assert not any(use_nonce(store, n) for n in (1, NONCE - 20, NONCE - 15, NONCE - 10, NONCE))
    assert use_nonce(store, NONCE - 9), "above the watermark"
    assert [use_nonce(store, n, "0xb") for n in (NONCE - 16, NONCE - 15, NONCE - 14)] == [False, False, True]
    assert use_nonce(store, 1, "0xc"), "of whom nothing is known"
    store.prune_nonces(1)
    assert not use_nonce(store, NONCE - 10), "nothing is remembered again"


def test_a_nonce_used_between_two_prunings_stays_used(store: Store) -> None:
    """A provider whose clock is far behind: all its nonces are old enough to be pruned."""
    for n in range(1, 6):
        assert use_nonce(store, n)
        store.prune_nonces(NONCE)
        assert not any(use_nonce(store, old) for old in range(1, n + 1))


def test_no_nonce_is_accepted_twice_during_pruning(store: Store) -> None:
    assert all(use_nonce(store, NONCE + n) for n in range(30))

    def replay(turn: int) -> bool:
        store.prune_nonces(NONCE + turn)
        with store.begin() as tx:
            return any(tx.use_nonce("0xa", NONCE + n) for n in range(30))

    assert not any(at_once(12, replay))


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

    admitted = [workflow for batch in at_once(12, admit) for workflow in batch]
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


def test_a_transaction_that_waited_for_a_lock_sees_the_committed_state(store: Store) -> None:
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


def test_sixteen_concurrent_deliveries_of_one_event_apply_it_once(store: Store) -> None:
    workflow = start(store)
    seen = ended(workflow)
    verdicts = at_once(16, lambda _: apply(store, workflow.id, seen, at(1)).verdict)
    assert sorted(verdicts) == ["applied", *["duplicate"] * 15]
    state = store.state(workflow.id)
    assert state is not None
    assert (state.phase, state.step) == (Phase.ALGORITHM, 3)
