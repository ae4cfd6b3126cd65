"""How many statements each transaction costs."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from msgspec.structs import replace
from support.records import NOW, apply, at, ended, record, start, submit
from support.statements import recorded, statements
from support.world import assemble
from support.world import record as new_record

from functions.engine.app import App
from functions.store.job_query import SIZES
from functions.store.sql import SqlStore
from functions.store.transaction_port import Transaction
from functions.store.values import Query, TaskQuery
from functions.workflow import decide as rules
from functions.workflow.decision import Verdict
from functions.workflow.model import JobUid, Manifest, Stage
from functions.workflow.observation import Admitted, StageLost, StopRequested, Tick

ROWS = 100_000


@pytest.fixture(params=["sqlite", "postgres"])
def sql_store(request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    with closing(SqlStore(request.getfixturevalue(f"{request.param}_url"))) as store:
        yield store


def test_a_change_of_stage_costs_five_statements(sql_store: SqlStore) -> None:
    workflow = start(sql_store)
    with statements(sql_store) as sent:
        apply(sql_store, workflow.id, ended(workflow))
    assert len(sent) == 5  # lock; state, history, attempts, intents


def test_the_writes_of_a_transaction_and_its_commit_cost_one_round_trip(sql_store: SqlStore) -> None:
    workflow = start(sql_store)
    with recorded(sql_store) as driver:
        apply(sql_store, workflow.id, ended(workflow))
    assert driver.messages == 2  # lock; what is written, and COMMIT


def test_finishing_a_workflow_costs_six_statements(sql_store: SqlStore) -> None:
    workflow = start(sql_store)
    for _ in range(2):
        workflow = apply(sql_store, workflow.id, ended(workflow)).workflow
    with statements(sql_store) as sent:
        assert apply(sql_store, workflow.id, ended(workflow, Manifest())).workflow.finished
    assert len(sent) == 6  # lock; state, history, attempts, dropped creations, intents


def test_a_submission_into_a_free_slot_costs_eight_statements_and_the_creation_of_its_job_six(
    sql_store: SqlStore,
) -> None:
    app = assemble(store=sql_store, max_jobs=2)
    _submit(app, 1)  # makes the environment's row
    with statements(sql_store) as sent:
        _submit(app, 2)
    # nonce; slots: lock, count; state, history, attempts, intents; tick | lock, intents, document, Job twice, closing
    assert len(sent) == 8 + 6
    with statements(sql_store) as sent:
        _submit(app, 3)
    assert len(sent) == 6  # without a free slot: nonce; slots: lock, count; state, history; tick


def _submit(app: App, number: int) -> None:
    app.transitions.submit(new_record(app, number), "test", first=lambda tx: _uses(tx, number))


def _uses(tx: Transaction, nonce: int) -> None:
    assert tx.use_nonce("0xa", nonce)


def test_admission_costs_seven_statements(sql_store: SqlStore) -> None:
    submit(sql_store, record())
    with sql_store.begin() as tx:
        tx.slots("ocean-compute")  # makes the environment's row
    with statements(sql_store) as sent, sql_store.begin() as tx:
        assert tx.slots("ocean-compute").taken == 0
        queued = tx.oldest_queued("ocean-compute")
        assert queued is not None
        tx.save(rules.decide(queued, Admitted(), NOW), "test")
    assert len(sent) == 7  # slots: lock, count; oldest; state, history, attempts, intents


def test_a_check_without_change_costs_two_statements(sql_store: SqlStore) -> None:
    workflow = start(sql_store)
    with statements(sql_store) as sent:
        apply(sql_store, workflow.id, Tick(), at(1))
    assert len(sent) == 2


def test_an_observation_that_changes_nothing_costs_one_statement(sql_store: SqlStore) -> None:
    app = assemble(store=sql_store)
    workflow = app.transitions.submit(new_record(app, 1), "test").workflow.id
    with statements(sql_store) as sent:
        assert app.transitions.apply(workflow, StageLost(Stage.PUBLISH, 1), "test") is Verdict.FOREIGN
    assert len(sent) == 1  # lock


def test_recording_a_job_costs_three_statements_and_closing_an_intent_one(sql_store: SqlStore) -> None:
    workflow = start(sql_store)
    with sql_store.begin() as tx:
        (creation,) = tx.intents(workflow.id)
    with statements(sql_store) as sent, sql_store.begin() as tx:
        tx.record_job(creation, JobUid("u"), NOW)
    assert len(sent) == 3
    apply(sql_store, workflow.id, StopRequested(), at(1))
    with sql_store.begin() as tx:
        (deletion,) = tx.intents(workflow.id)
    with statements(sql_store) as sent, sql_store.begin() as tx:
        tx.close(deletion)
    assert len(sent) == 1


def test_each_read_claim_and_nonce_costs_one_statement(sql_store: SqlStore) -> None:
    workflow = start(sql_store)
    for question in (
        lambda: sql_store.state(workflow.id),
        lambda: sql_store.get(workflow.id),
        lambda: sql_store.find(Query(owner="0xOwner")),
        lambda: sql_store.task(workflow.id),
        lambda: sql_store.find_tasks(TaskQuery("0xOwner", tags={"a": "", "b": "c"}, name_prefix="x")),
        sql_store.queues,
        sql_store.running,
        lambda: sql_store.claim_workflows(at(60), at(90), 50),
        lambda: sql_store.claim_intents(at(60), at(90), 50),
        lambda: sql_store.claim_events(at(60), at(90), 50),
        lambda: sql_store.ids(Query(owner="0xOwner")),
        lambda: sql_store.nonce_used("0xa", 1),
        lambda: _use_nonce(sql_store),
    ):
        with statements(sql_store) as sent:
            question()
        assert len(sent) == 1


def test_a_page_holds_one_record_or_at_most_the_bytes_that_are_asked_for(sql_store: SqlStore) -> None:
    for n in range(6):
        submit(sql_store, record(at(n), agreement=f"0x{n}"))
    (size, *_) = [row["bytes"] for row in sql_store.pool.read(f"SELECT {SIZES} FROM jobs", {})]
    for max_bytes, counts in ((1, [1] * 6), (2 * size + 1, [2, 2, 2]), (4 * size + 1, [4, 2]), (6 * size + 1, [6])):
        assert [len(page) for page in sql_store.find_in_pages(Query(), max_bytes)] == counts


def test_used_nonces_are_pruned_in_two_statements(sql_store: SqlStore) -> None:
    for n in range(1, 301):
        _use_nonce(sql_store, n)
        if n % 100 == 0:
            with statements(sql_store) as sent:
                sql_store.prune_nonces(n - 10)
            assert len(sent) == 2
    sql_store.prune_nonces(290)
    counts = [sql_store._read(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in ("nonces", "used_nonces")]
    assert counts == [1, 10]


def test_concurrent_writers_on_sqlite_lose_no_update(sqlite_url: str) -> None:
    with closing(SqlStore(sqlite_url, pool_size=8)) as store:
        workflow = start(store)

        def count(_: int) -> None:
            for _ in range(50):
                with store.begin() as tx:
                    current = tx.lock(workflow.id)
                    assert current is not None
                    decision = rules.decide(current, Tick(), NOW)
                    tx.save(replace(decision, workflow=replace(current, attempt=current.attempt + 1)), "test")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(count, range(8)))
        state = store.state(workflow.id)
    assert state is not None
    assert state.attempt == workflow.attempt + 400


def _use_nonce(store: SqlStore, nonce: int = 1) -> bool:
    with store.begin() as tx:
        return tx.use_nonce("0xa", nonce)
