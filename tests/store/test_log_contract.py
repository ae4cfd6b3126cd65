"""What every adapter promises about the log of all histories: it only grows, and each head has its place in it."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from contextlib import closing
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.memory_store import MemoryStore
from support.records import NOW, record, submit

from functions.store.driver import Row
from functions.store.log_rows import SqlLog
from functions.store.ports import Store
from functions.store.sql import SqlStore
from functions.store.values import LogLeaf
from functions.trust import chain, merkle
from functions.trust.merkle import leaf_hash
from functions.workflow import decide as rules
from functions.workflow.model import Workflow
from functions.workflow.observation import Attested, StopRequested


def sealed(store: Store) -> Workflow:
    """A workflow whose history is chained."""
    new = record()
    decision = chain.seal(rules.submit(new.workflow, NOW), "test")
    with store.begin() as tx:
        tx.add(new, [(decision, "test")])
    return decision.workflow


def step(store: Store, workflow: Workflow, seen: Attested | StopRequested) -> Workflow:
    with store.begin() as tx:
        current = tx.lock(workflow.id)
        assert current is not None
        decision = chain.seal(rules.decide(current, seen, NOW), "test")
        tx.save(decision, "test")
    return decision.workflow


def log_all(store: Store, limit: int = 100) -> list[LogLeaf]:
    with store.begin() as tx:
        size = tx.log.lock()
        assert size is not None
        leaves = list(tx.log.take_heads(limit))
        nodes, root = merkle.append(size, [bytes.fromhex(leaf.data) for leaf in leaves], tx.log.nodes)
        if leaves:
            tx.log.extend(size, leaves, nodes, root, f"note {size + len(leaves)}", NOW)
    return leaves


def test_a_history_that_has_grown_is_logged_once(store: Store) -> None:
    first, second = sealed(store), sealed(store)
    assert {leaf.data for leaf in log_all(store)} == {first.head, second.head}
    assert log_all(store) == []
    stopped = step(store, first, StopRequested())
    assert log_all(store) == [LogLeaf("history", first.id, stopped.head)]
    assert [store.log.position(head, 3) for head in (stopped.head, "00" * 32)] == [2, None]
    assert store.log.position(stopped.head, 2) is None
    assert store.log.checkpoint() == "note 3"


def test_the_head_that_a_statement_is_about_is_logged_before_the_line_that_names_it(store: Store) -> None:
    workflow = sealed(store)
    attested = step(store, workflow, Attested("ab" * 32))
    assert [leaf.data for leaf in log_all(store)] == [workflow.head, attested.head]


def test_two_statements_in_one_sweep_leave_their_head_in_the_log(store: Store) -> None:
    workflow = sealed(store)
    step(store, workflow, Attested("ab" * 32))
    last = step(store, workflow, Attested("cd" * 32))
    assert [leaf.data for leaf in log_all(store)] == [workflow.head, last.head]


def test_a_batch_leaves_the_rest_for_the_next(store: Store) -> None:
    heads = {sealed(store).head for _ in range(5)}
    found = [log_all(store, 2) for _ in range(4)]
    assert [len(leaves) for leaves in found] == [2, 2, 1, 0]
    assert {leaf.data for leaves in found for leaf in leaves} == heads


def test_the_stored_nodes_make_the_proofs_of_every_leaf(store: Store) -> None:
    heads = []
    for _ in range(3):
        heads += [sealed(store).head for _ in range(3)]
        log_all(store)
    log, size = store.log, 9
    root = merkle.root(size, log.nodes)
    for head in heads:
        index = log.position(head, size)
        assert index is not None
        path = merkle.inclusion_proof(index, size, log.nodes)
        assert merkle.root_of_inclusion(index, size, bytes.fromhex(head), path) == root
    old = merkle.root(3, log.nodes)
    assert merkle.is_consistent(3, old, size, root, merkle.consistency_proof(3, size, log.nodes))
    assert log.nodes([(0, 0)]) == {(0, 0): leaf_hash(bytes.fromhex(next(h for h in heads if log.position(h, 1) == 0)))}
    assert log.nodes([]) == {}


def test_the_first_of_equal_leaves_is_found_however_far_apart_they_are(store: Store) -> None:
    for size in (70_000, 200_000):
        with store.begin() as tx:
            tx.log.extend(size, [LogLeaf("history", "w", "ab" * 32)], {}, b"", f"note {size}", NOW)
    assert [store.log.position("ab" * 32, size) for size in (70_000, 70_001, 300_000)] == [None, 70_000, 70_000]
    assert store.log.position("ab" * 31 + "ac", 300_000) is None


def test_a_place_gets_each_checkpoint_once_and_its_cosignatures_are_served_with_it(store: Store) -> None:
    for _ in range(3):
        sealed(store)
        log_all(store)
    assert (store.log.copied("w"), store.log.uncopied("w", 2)) == (0, [(1, "note 1"), (2, "note 2")])
    for place, size, lines in (("w", 1, "old"), ("w", 3, "-w"), ("w", 3, "-again"), ("v", 3, "-v"), ("archive", 3, "")):
        with store.begin() as tx:
            tx.log.add_copy(place, size, lines)
    assert (store.log.copied("w"), store.log.uncopied("w", 2)) == (3, [])
    assert store.log.checkpoint() == "note 3-v-w"
    assert store.log.uncopied("other", 1) == [(1, "note 1")]


def test_a_leaf_that_waits_is_taken_once(store: Store) -> None:
    leaves = [LogLeaf("policy", f"p{n}", f"{n}{n}" * 32) for n in range(3)]
    assert store.log.unlogged(leaves) == leaves
    for leaf in (*leaves, leaves[0]):
        with store.begin() as tx:
            tx.log.wait(leaf)
    assert list(store.log.unlogged([])) == []
    assert store.log.unlogged(leaves) == []
    with store.begin() as tx:
        size, taken = tx.log.lock(), tx.log.take_waiting(2)
        assert size is not None
        nodes, root = merkle.append(size, [bytes.fromhex(leaf.data) for leaf in taken], tx.log.nodes)
        tx.log.extend(size, taken, nodes, root, "note 2", NOW)
    assert taken == leaves[:2]
    assert store.log.unlogged(leaves) == []
    assert store.log.position(leaves[1].data, 2) == 1
    with store.begin() as tx:
        assert tx.log.take_waiting(5) == leaves[2:]


def test_a_proof_reads_its_nodes_in_one_statement(sqlite_url: str) -> None:
    with closing(SqlStore(sqlite_url)) as store:
        for _ in range(7):
            sealed(store)
        log_all(store)
        statements: list[str] = []

        def run(statement: str, values: Mapping[str, Any]) -> list[Row]:
            statements.append(statement)
            return store.pool.read(statement, values)

        assert len(merkle.inclusion_proof(4, 7, SqlLog(run).nodes)) == 3
        assert len(statements) == 1


@pytest.mark.parametrize(
    ("database", "parts"), [("sqlite_url", "ix_log_leaves_parts (<expr>=? AND <expr>=?)"), ("postgres_url", "substr(")]
)
def test_leaves_and_nodes_are_found_by_an_index(database: str, parts: str, request: pytest.FixtureRequest) -> None:
    explain = "EXPLAIN QUERY PLAN" if database == "sqlite_url" else "SET LOCAL enable_seqscan = off; EXPLAIN"
    with closing(SqlStore(request.getfixturevalue(database))) as store:
        plans: list[str] = []

        def run(statement: str, values: Mapping[str, Any]) -> list[Row]:
            plans.append(str(store.pool.read(f"{explain} {statement}", values)))
            return []

        log = SqlLog(run)
        log.position("ab" * 32, 1_000_000)
        log.unlogged([LogLeaf("policy", "p", "ab" * 32)])
        log.nodes([(0, 6), (0, 9), (1, 2), (2, 0), (7, 5)])
        assert "ix_log_leaves_parts" in plans[0]
        assert parts in plans[0]
        assert "ix_log_leaves_no_heads" in plans[1]
        assert "log_nodes_" in plans[2]
        for plan in plans:
            assert not re.search(r"SCAN log_|Seq Scan", plan)


def test_a_failed_transaction_logs_nothing(store: Store) -> None:
    workflow = sealed(store)
    with pytest.raises(RuntimeError):
        _log_and_fail(store, workflow)
    assert store.log.checkpoint() is None
    assert [leaf.data for leaf in log_all(store)] == [workflow.head]


def _log_and_fail(store: Store, workflow: Workflow) -> None:
    with store.begin() as tx:
        assert tx.log.lock() == 0
        leaves = tx.log.take_heads(10)
        nodes, root = merkle.append(0, [bytes.fromhex(workflow.head)], tx.log.nodes)
        tx.log.extend(0, leaves, nodes, root, "x", NOW)
        raise RuntimeError


def test_two_sweeps_never_extend_the_log_at_once(postgres_url: str) -> None:
    first, second = SqlStore(postgres_url), SqlStore(postgres_url)
    seen: list[int | None] = []

    def other() -> None:
        with second.begin() as tx:
            seen.append(tx.log.lock())

    with first.begin() as tx:
        assert tx.log.lock() == 0
        thread = threading.Thread(target=other)
        thread.start()
        thread.join(30)
    assert seen == [None]
    first.close()
    second.close()


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(1, 9), min_size=1, max_size=6))
def test_a_log_that_grows_in_any_batches_has_the_same_root(batches: list[int]) -> None:
    store = MemoryStore()
    for count in batches:
        for _ in range(count):
            submit(store, record())
        for _ in range(count):
            sealed(store)
        log_all(store)
    size = sum(batches)
    data = [bytes.fromhex(store._tables.log.leaves[n].data) for n in range(size)]
    _, root = merkle.append(0, data, lambda _: {})
    assert merkle.root(size, store.log.nodes) == root
