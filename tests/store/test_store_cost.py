"""What the record costs: statements per transaction, and an index for every question at any size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any
from unittest.mock import patch

import pytest
from support.postgres import TEMPLATE, connect, fresh_database
from support.records import NOW, apply, at, ended, record, start, submit
from support.world import assemble
from support.world import record as new_record

from functions.engine.app import App
from functions.store.pool import Driver
from functions.store.ports import Query, Transaction
from functions.store.sql import SqlStore
from functions.workflow import decide as rules
from functions.workflow.decision import CreateJob
from functions.workflow.model import JobUid, Manifest, WorkflowId
from functions.workflow.observation import Admitted, StopRequested, Tick

ROWS = 100_000


@pytest.fixture(params=["sqlite", "postgres"])
def sql_store(request: pytest.FixtureRequest) -> Iterator[SqlStore]:
    with closing(SqlStore(request.getfixturevalue(f"{request.param}_url"))) as store:
        yield store


class RecordingDriver:
    """Passes everything on to a driver and keeps the statements."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.sent: list[tuple[str, Any]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._driver, name)

    def run(self, connection: Any, statement: str, parameters: Any, opening: str = "") -> Any:
        if statement != "COMMIT":
            self.sent.append((statement, parameters))
        return self._driver.run(connection, statement, parameters, opening)


@contextmanager
def statements(store: SqlStore) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are sent to the database meanwhile, without BEGIN and COMMIT."""
    recording = RecordingDriver(store.pool.driver)
    with patch.object(store.pool, "driver", recording):
        yield recording.sent


def test_a_stage_that_gives_way_to_the_next_costs_five_statements(sql_store: SqlStore) -> None:
    workflow = start(sql_store)
    with statements(sql_store) as sent:
        apply(sql_store, workflow.id, ended(workflow))
    assert len(sent) == 5  # lock; state, history, attempts, intents


def test_the_end_costs_six_statements(sql_store: SqlStore) -> None:
    workflow = start(sql_store)
    for _ in range(2):
        workflow = apply(sql_store, workflow.id, ended(workflow)).workflow
    with statements(sql_store) as sent:
        assert apply(sql_store, workflow.id, ended(workflow, Manifest())).workflow.finished
    assert len(sent) == 6  # lock; state, history, attempts, dropped creations, intents


def test_a_submission_into_a_free_slot_costs_seven_statements_and_the_creation_of_its_job_six(
    sql_store: SqlStore,
) -> None:
    app = assemble(store=sql_store, max_jobs=2)
    _submit(app, 1)  # makes the environment's row
    with statements(sql_store) as sent:
        _submit(app, 2)
    # nonce; slots: lock, count; state, history, attempts, intents | lock, intents, document, Job twice, closed intent
    assert len(sent) == 7 + 6
    with statements(sql_store) as sent:
        _submit(app, 3)
    assert len(sent) == 5  # without a free slot: nonce; slots: lock, count; state, history


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


def test_a_look_that_changes_nothing_costs_two_statements(sql_store: SqlStore) -> None:
    workflow = start(sql_store)
    with statements(sql_store) as sent:
        apply(sql_store, workflow.id, Tick(), at(1))
    assert len(sent) == 2


def test_closing_a_creation_costs_three_statements_and_any_other_intent_one(sql_store: SqlStore) -> None:
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


def test_reads_and_claims_and_nonces_cost_one_statement_each(sql_store: SqlStore) -> None:
    workflow = start(sql_store)
    for question in (
        lambda: sql_store.state(workflow.id),
        lambda: sql_store.get(workflow.id),
        lambda: sql_store.find(Query(owner="0xOwner")),
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


def test_nonces_do_not_pile_up(sql_store: SqlStore) -> None:
    for n in range(1, 301):
        _use_nonce(sql_store, n)
        if n % 100 == 0:
            with statements(sql_store) as sent:
                sql_store.prune_nonces(n - 10)
            assert len(sent) == 2
    sql_store.prune_nonces(290)
    counts = [sql_store._read(f"SELECT count(*) AS n FROM {table}")[0]["n"] for table in ("nonces", "used_nonces")]
    assert counts == [1, 10]


def test_on_sqlite_threads_that_write_at_once_lose_nothing(sqlite_url: str) -> None:
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


@pytest.fixture(scope="module")
def crowded(postgres_server: str) -> Iterator[SqlStore]:
    """A Postgres with many finished workflows, few unfinished ones, and a history."""
    with fresh_database(postgres_server, f"TEMPLATE {TEMPLATE}") as url, closing(SqlStore(url)) as store:
        with closing(connect(url)) as connection, connection.cursor() as cursor:
            for script in (*_CROWD, "ANALYZE"):
                cursor.execute(script)
        yield store


_CROWD = (
    f"""
    INSERT INTO jobs (agreementid, workflowid, owner, provider, status, namespace, workflow, phase, datecreated,
                      datefinished, wake_at, idempotency_key)
    SELECT 'agreement-' || n, md5(n::text), 'owner-' || n % 1000, 'provider-' || n % 10, 70, 'env-' || n % 5, '{{}}',
           CASE WHEN n % 100 = 0 THEN 'queued' WHEN n % 100 = 1 THEN 'algorithm' ELSE 'finished' END,
           timestamp '2026-01-01' + n * interval '1 second',
           CASE WHEN n % 100 > 1 THEN timestamp '2026-02-01' END,
           CASE WHEN n % 100 <= 1 THEN timestamp '2026-11-22' + n * interval '1 second' END,
           CASE WHEN n % 10 = 0 THEN 'key-' || n END
    FROM generate_series(1, {ROWS}) n
    """,
    """
    INSERT INTO history (workflow, step, at, before, after, status, event, reason, attempt, cause)
    SELECT workflowid, line, datecreated, 'queued', 'finished', 70, 'x', '', 0, 'x'
    FROM jobs, generate_series(1001, 1002) line WHERE owner < 'owner-2'
    """,
    """
    INSERT INTO stage_attempts (workflow, stage, attempt, created_at)
    SELECT workflowid, 'configure', 1, datecreated FROM jobs WHERE owner < 'owner-3'
    """,
    """
    INSERT INTO intents (workflow, kind, event, wake_at, tries, due_at)
    SELECT workflowid, CASE WHEN n % 2 = 0 THEN 'clean_up' ELSE 'emit' END, 'finished',
           timestamp '2026-11-22' + n * interval '1 second', 0, datecreated
    FROM jobs, LATERAL (SELECT substr(agreementid, 11)::int AS n) numbered WHERE n <= 20000
    """,
    "INSERT INTO slots SELECT 'env-' || n FROM generate_series(0, 4) n",
    "INSERT INTO nonces (provider, nanoseconds) SELECT 'provider-' || n, 1 FROM generate_series(1, 20000) n",
    "INSERT INTO used_nonces (provider, nanoseconds) SELECT 'provider-' || n, n FROM generate_series(1, 20000) n",
)
SOMEBODY = WorkflowId("c4ca4238a0b923820dcc509a6f75849b")  # md5 of 1


def test_every_question_is_answered_by_an_index_among_a_hundred_thousand_workflows(crowded: SqlStore) -> None:
    with statements(crowded) as sent:
        _ask_everything(crowded)
    plans = {statement: _plan(crowded, statement, parameters) for statement, parameters in sent}
    scanned = {statement: tables for statement, plan in plans.items() if (tables := _scanned(plan))}
    assert len(plans) > 25
    assert scanned == {}


def _ask_everything(store: SqlStore) -> None:
    soon = at(3600)
    store.get(SOMEBODY)
    store.state(SOMEBODY)
    store.history(SOMEBODY)
    store.attempts(SOMEBODY)
    store.by_idempotency_key("provider-1", "key-10")
    for query in (
        Query(agreement_id="agreement-7"),
        Query(workflow=SOMEBODY, owner="owner-1"),
        Query(owner="owner-7"),
        Query(unfinished=True, limit=100),
        Query(limit=100),
    ):
        store.find(query)
        store.ids(query)
    store.nonce_used("provider-7", 2)
    store.prune_nonces(50)
    store.queues()
    store.running()
    store.unfinished([SOMEBODY, WorkflowId("nobody")])
    store.claim_workflows(soon, soon, 50)
    store.claim_intents(soon, soon, 50)
    for event in store.claim_events(soon, soon, 50)[:1]:
        store.close_event(event)
    store.dead_letters(10)
    with store.begin() as tx:
        tx.slots("env-1")
        queued = tx.oldest_queued("env-0")
        assert queued is not None
        tx.save(rules.decide(queued, Admitted(), NOW), "test")
        for intent in tx.intents(queued.id):
            tx.postpone(intent, soon)
            if isinstance(intent.effect, CreateJob):
                tx.record_job(intent, JobUid("u"), NOW)
            tx.close(intent)
        current = tx.lock(queued.id)
        assert current is not None
        tx.save(rules.decide(current, StopRequested(), NOW), "test")
        tx.record(queued.id)
        tx.use_nonce("provider-7", 2)


def _plan(store: SqlStore, statement: str, parameters: Any) -> Any:
    (row,) = store.pool.read(f"EXPLAIN (FORMAT JSON) {statement}", parameters)
    return row["QUERY PLAN"]


def _scanned(plan: Any) -> set[str]:
    """The big tables that a plan reads from end to end."""
    plan = json.loads(plan) if isinstance(plan, str) else plan
    found: set[str] = set()

    def walk(node: Any) -> None:
        if isinstance(node, dict):
            if node.get("Node Type") == "Seq Scan":
                found.add(node["Relation Name"])
            for value in node.values():
                walk(value)
        elif isinstance(node, list):
            for value in node:
                walk(value)

    walk(plan)
    return found - {"slots", "dead_letters"}  # a handful of rows


def _use_nonce(store: SqlStore, nonce: int = 1) -> bool:
    with store.begin() as tx:
        return tx.use_nonce("0xa", nonce)
