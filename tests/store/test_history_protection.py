"""Nobody changes a line of the history: the databases refuse it, and the chain of digests shows it."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import pytest
from msgspec.structs import replace
from support.postgres import run_script, select
from support.records import apply, record, submit

from functions.store.migrate import migrate
from functions.store.ports import RefusedStatement, Store
from functions.store.sql import SqlStore
from functions.store.values import Evidence
from functions.trust import chain
from functions.workflow.model import FetchedFile, Manifest, WorkflowId
from functions.workflow.observation import Admitted, Revoked, StopRequested


@pytest.fixture(params=["sqlite", "postgres"])
def database(request: pytest.FixtureRequest) -> Any:
    url = request.getfixturevalue(f"{request.param}_url")
    with closing(SqlStore(url)) as store:
        yield store


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE history SET reason = 'another'",
        "DELETE FROM history",
        "UPDATE history SET digest = digest WHERE step = 1",
    ],
)
def test_a_line_of_the_history_is_never_changed_or_deleted(database: SqlStore, statement: str) -> None:
    workflow = submit(database, record())
    before = database.history(workflow.id)
    with pytest.raises(RefusedStatement), database.pool.transaction() as session:
        session.execute(statement, {})
    assert database.history(workflow.id) == before


def test_postgres_does_not_empty_the_history_either(postgres_url: str) -> None:
    with closing(SqlStore(postgres_url)) as store:
        submit(store, record())
    with pytest.raises(Exception, match="never changed and never deleted"):
        run_script(postgres_url, "TRUNCATE history")


def test_the_history_stays_when_the_row_of_its_job_goes(database: SqlStore) -> None:
    workflow = submit(database, record())
    with database.pool.transaction() as session:
        session.execute("DELETE FROM jobs WHERE workflowid = %(id)s", {"id": workflow.id})
    assert len(database.history(workflow.id)) == 1


def test_forgetting_a_person_leaves_the_chain_whole(database: SqlStore) -> None:
    new = record()
    new = replace(new, workflow=replace(new.workflow, salt="5a" * 32))
    workflow = submit(database, new)
    apply(database, workflow.id, StopRequested())
    with database.pool.transaction() as session:
        forget = "UPDATE jobs SET salt = '', owner = '', workflow = NULL WHERE workflowid = %(id)s"
        session.execute(forget, {"id": workflow.id})
    assert len(database.history(workflow.id)) == 2
    state = database.state(workflow.id)
    assert state is not None
    assert state.salt == ""


def test_what_was_fetched_is_kept_until_a_manifest_says_more(store: Store) -> None:
    workflow = submit(store, record())
    apply(store, workflow.id, Admitted())
    fetched = (FetchedFile("inputs/a/0", "https", 3, "ab" * 32),)
    for manifest in (Manifest(fetched=fetched, report="{}"), Manifest()):
        with store.begin() as tx:
            current = tx.lock(workflow.id)
            assert current is not None
            tx.save(replace(_unchanged(current), manifest=manifest), "test")
    assert store.evidence(workflow.id) == Evidence(fetched, "{}")
    assert store.evidence(WorkflowId("unknown")) == Evidence()


def test_each_adopted_job_begins_with_one_line_that_covers_what_was_before(old_url: str) -> None:
    before = {row[0]: row[1] for row in select(old_url, "SELECT workflowid, datefinished FROM jobs")}
    migrate(old_url)
    with closing(SqlStore(old_url)) as store:
        for job, finished in before.items():
            workflow = store.state(WorkflowId(job))
            ((line, cause),) = store.history(WorkflowId(job))
            assert workflow is not None
            assert line.event == ("adopted" if finished else "lost")
            assert len(line.facts["before"]) == 64
            rebuilt = chain.line(workflow.id, line, cause, chain.genesis(workflow.id))
            assert chain.verify(workflow.id, [rebuilt]) == workflow.head
        assert apply(store, WorkflowId(job), Revoked()).lines[0].step == 2


def _unchanged(current: Any) -> Any:
    from functions.workflow.decision import Decision, Verdict

    return Decision(current, Verdict.UNCHANGED)
