"""What every adapter of the store promises about records, their history and their lists."""

from __future__ import annotations

from itertools import pairwise

import pytest
from msgspec.structs import replace
from support.records import DOCUMENT, NOW, add, apply, at, ended, finish, record, start, submit

from functions.store.ports import Store
from functions.store.values import Attempt, Query
from functions.workflow import decide as rules
from functions.workflow.decision import CreateJob
from functions.workflow.model import Ending, JobUid, Limits, Manifest, Outcome, Phase, ResultFile, Stage, WorkflowId
from functions.workflow.observation import Admitted, DeleteRequested, StageEnded, Tick

MANIFEST = Manifest(
    files=(
        ResultFile("outputs/plots/ä.svg", 12, "output", "file:///r/ä.svg", "ab" * 32, "image/svg+xml"),
        ResultFile("logs/algorithm.log", 3, "algorithmLog", "file:///r/algorithm.log"),
    ),
    admin_files=(ResultFile("adminlogs/configure.log", 7, "configrationLog", "file:///r/configure.log"),),
    warnings=("outputs/ä is not published: it is a symbolic link",),
)


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


def test_a_cause_of_any_length_is_cut_to_its_beginning(store: Store) -> None:
    new = record()
    with store.begin() as tx:
        tx.add(new, [(rules.submit(new.workflow, NOW), "x" * 100_000)])
    ((_, cause),) = store.history(new.workflow.id)
    assert cause == "x" * 255


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


def test_a_finished_workflow_has_a_gapless_history_and_every_attempt(store: Store) -> None:
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


def test_a_check_without_change_moves_only_the_wake_up_time(store: Store) -> None:
    workflow = start(store)
    decision = apply(store, workflow.id, Tick(), at(5))
    assert not decision.lines
    assert store.state(workflow.id) == replace(workflow, wake_at=at(15))
    assert len(store.history(workflow.id)) == workflow.step


def test_a_transaction_that_raises_leaves_nothing(store: Store) -> None:
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
    assert found(provider="0xp") == [old.id]
    assert found(provider="0xp", owner="0xB") == []
    assert found(chain_id="80001") == [new.id, done.id, old.id]
    assert found(chain_id="1") == []
    assert found(unfinished=True) == [new.id, old.id]
    assert found(limit=1) == [new.id]
    assert found(limit=1, offset=1) == [done.id]
    assert store.find(Query(workflow=new.id))[0].submission.document == DOCUMENT


@pytest.mark.parametrize("max_bytes", [1, 3_000, 1 << 20])
def test_pages_hold_together_what_is_found_at_once(store: Store, max_bytes: int) -> None:
    for n in range(7):
        submit(store, record(at(n), owner="0xA", agreement=f"0x{n}"))
    submit(store, record(at(9), owner="0xB"))
    query = Query(owner="0xA", limit=5, offset=1)
    pages = list(store.find_in_pages(query, max_bytes))
    assert all(pages)
    assert [each for page in pages for each in page] == store.find(query)
    assert list(store.find_in_pages(Query(owner="nobody"), max_bytes)) in ([], [[]])


def test_an_owner_is_found_by_every_spelling_of_the_address(store: Store) -> None:
    address = "0xC41808BBef371AD5CFc76466dDF9dEe228d2BdAA"
    workflow = submit(store, record(owner=address))
    submit(store, record(owner="somebody"))
    for spelling in (address, address.lower(), address[2:], "0X" + address[2:].upper()):
        (found,) = store.find(Query(owner=spelling))
        assert (found.workflow.id, found.submission.owner) == (workflow.id, address)
    assert store.find(Query(owner="Somebody")) == []


def test_unfinished_workflows_are_picked_out_of_a_list(store: Store) -> None:
    done, alive = finish(store, start(store)), start(store)
    assert store.unfinished([done.id, alive.id, WorkflowId("nobody")]) == {alive.id}
    assert store.unfinished([]) == set()


def test_each_environment_with_a_queue_is_listed_once(store: Store) -> None:
    for environment in ("b", "a", "b", "c"):
        submit(store, record(environment=environment))
    start(store, record(environment="d"))
    assert list(store.queues()) == ["a", "b", "c"]


def test_a_dead_letter_never_replaces_another(store: Store) -> None:
    store.add_dead_letter("e1", "bad JSON", {"type": "x"}, at(1))
    store.add_dead_letter("e2", "always fails", {"data": {"a": [1]}}, at(2))
    store.add_dead_letter("e1", "forged", {"type": "y"}, at(2))
    assert list(store.dead_letters(10)) == [
        {"event_id": "e1", "at": at(2), "reason": "forged", "event": {"type": "y"}},
        {"event_id": "e2", "at": at(2), "reason": "always fails", "event": {"data": {"a": [1]}}},
        {"event_id": "e1", "at": at(1), "reason": "bad JSON", "event": {"type": "x"}},
    ]
    assert [letter["reason"] for letter in store.dead_letters(1)] == ["forged"]


def test_a_dead_letter_that_arrives_again_is_kept_once(store: Store) -> None:
    for n in range(3):
        store.add_dead_letter("e1", "bad JSON", {"type": "x"}, at(n))
    assert [letter["at"] for letter in store.dead_letters(10)] == [at(0)]


def test_dead_letters_are_pruned_by_age_and_by_number(store: Store) -> None:
    for n in range(6):
        store.add_dead_letter(f"e{n}", "r", {}, at(n))

    def left(before: int, keep: int) -> list[str]:
        store.prune_dead_letters(at(before), keep)
        return [letter["event_id"] for letter in store.dead_letters(10)]

    assert left(1, 10) == ["e5", "e4", "e3", "e2", "e1"]
    assert left(0, 3) == ["e5", "e4", "e3"]
    assert left(5, 3) == ["e5"]
    assert left(0, 1) == ["e5"]
    store.add_dead_letter("e6", "r", {}, at(6))
    assert left(0, 1) == ["e6"]
