"""Every query is answered by an index, at any size."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from support.postgres import TEMPLATE, connect, fresh_database
from support.records import NOW, at
from support.statements import statements

from functions.store.listing import STATES
from functions.store.sql import SqlStore
from functions.store.tes_rows import digest
from functions.store.values import Listing, Query, TaskQuery
from functions.workflow import decide as rules
from functions.workflow.decision import CreateJob
from functions.workflow.model import JobUid, WorkflowId
from functions.workflow.observation import Admitted, StopRequested

ROWS = 100_000


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
    INSERT INTO stage_attempts (workflow, stage, attempt, executor, created_at)
    SELECT workflowid, 'configure', 1, 0, datecreated FROM jobs WHERE owner < 'owner-3'
    """,
    """
    INSERT INTO intents (workflow, kind, event, wake_at, tries, due_at)
    SELECT workflowid, CASE WHEN n % 2 = 0 THEN 'clean_up' ELSE 'emit' END, 'finished',
           timestamp '2026-11-22' + n * interval '1 second', 0, datecreated
    FROM jobs, LATERAL (SELECT substr(agreementid, 11)::int AS n) numbered WHERE n <= 20000
    """,
    """
    INSERT INTO tes_tasks (workflow, owner, name, name_start, state, created_at, size)
    SELECT workflowid, owner, 'task-' || n, 'task-' || n, CASE WHEN n % 50 = 0 THEN 'RUNNING' ELSE 'COMPLETE' END,
           datecreated, 1000
    FROM jobs, LATERAL (SELECT substr(agreementid, 11)::int AS n) numbered
    """,
    # md5 stands for the digests of functions/store/tes_rows.py; the queries ask for these two.
    f"""
    INSERT INTO tes_tags (workflow, key, value, owner, created_at)
    SELECT workflow, key, CASE WHEN key = '{digest("n")}' THEN md5(name) ELSE '{digest("lab")}' END, owner, created_at
    FROM tes_tasks, unnest(ARRAY['{digest("n")}', '{digest("project")}']) key
    """,
    "INSERT INTO slots SELECT 'env-' || n FROM generate_series(0, 4) n",
    "INSERT INTO nonces (provider, nanoseconds) SELECT 'provider-' || n, 1 FROM generate_series(1, 20000) n",
    "INSERT INTO used_nonces (provider, nanoseconds) SELECT 'provider-' || n, n FROM generate_series(1, 20000) n",
)
SOMEBODY = WorkflowId("c4ca4238a0b923820dcc509a6f75849b")  # md5 of 1


def test_every_query_uses_an_index_among_a_hundred_thousand_workflows(crowded: SqlStore) -> None:
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
        Query(owner="owner-7", provider="provider-7"),
        Query(unfinished=True, limit=100),
        Query(limit=100),
    ):
        store.find(query)
        store.ids(query)
    for listing in (
        Listing(),
        *(Listing(state=state) for state in STATES),
        Listing(environment="env-1", state="failed"),
        Listing(owner="owner-7"),
        Listing(id_prefix=SOMEBODY[:9]),
        Listing(before=(at(-86_400), SOMEBODY)),
    ):
        store.summaries(listing)
    store.unfinished_by_phase()
    store.counts()
    _ask_for_tasks(store)
    store.nonce_used("provider-7", 2)
    store.prune_nonces(50)
    store.queues()
    store.queue("env-1", 10)
    store.running()
    store.unfinished([SOMEBODY, WorkflowId("nobody")])
    store.claim_workflows(soon, soon, 50)
    store.claim_intents(soon, soon, 50)
    for event in store.claim_events(soon, soon, 50)[:1]:
        store.close_event(event)
    store.dead_letters(10)
    store.prune_dead_letters(NOW, 1000)
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
        tx.hold_fast_tick()
        tx.save_tick(tx.lock_tick())
        tx.backlog(at(210))


def _ask_for_tasks(store: SqlStore) -> None:
    store.task(SOMEBODY)
    store.get_tasks([SOMEBODY])
    after = (NOW, SOMEBODY)
    for owner in ("owner-7", None):
        for query in (
            TaskQuery(owner),
            TaskQuery(owner, after=after),
            TaskQuery(owner, state="RUNNING"),
            TaskQuery(owner, state="CANCELING", after=after),
            TaskQuery(owner, name_prefix="task-70"),
            TaskQuery(owner, name_prefix="nothing", after=after),
            TaskQuery(owner, tags={"n": "x"}),
            TaskQuery(owner, tags={"project": "lab"}, after=after),
            TaskQuery(owner, tags={"project": "", "n": "x"}, state="RUNNING"),
            TaskQuery(owner, name_prefix="task-7", tags={"project": "lab"}, state="COMPLETE", after=after),
        ):
            store.find_tasks(query)


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
    return found - {"slots", "dead_letters", "tick", "freezes"}  # a handful of rows
