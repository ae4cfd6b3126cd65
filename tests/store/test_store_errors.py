"""What the database refuses, or does not answer, is StoreUnavailable: nothing half-written, try again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from threading import Barrier
from typing import Any

import psycopg2
import pytest
from msgspec.structs import replace
from support.postgres import fresh_database
from support.records import add, apply, at, record, start, submit
from support.statements import recorded

from functions.store import pool, sqlite
from functions.store.migrate import migrate
from functions.store.ports import RefusedStatement, StoreUnavailable
from functions.store.sql import SqlStore
from functions.store.values import Query
from functions.workflow.decision import Decision, Verdict
from functions.workflow.model import Outcome, Stage, WorkflowId
from functions.workflow.observation import StageEnded


@pytest.fixture
def pg_store(postgres_url: str) -> Iterator[SqlStore]:
    with closing(SqlStore(postgres_url, pool_size=4)) as store:
        yield store


def test_a_refused_connection_is_unavailable_and_names_no_address() -> None:
    with closing(SqlStore("postgresql+psycopg2://user:secret@127.0.0.1:1/nowhere")) as store:
        with pytest.raises(StoreUnavailable) as refused:
            store.find(Query())
        with pytest.raises(StoreUnavailable), store.begin():
            pass
    assert str(refused.value) == "the database cannot be reached, or it refuses the user"
    assert refused.value.__suppress_context__


@pytest.mark.parametrize(
    "code", ["40001", "40P01", "55P03", "57P01", "57P03", "57014", "53300", "25006", "25P02", "08006"]
)
def test_transient_errors_are_unavailable(pg_store: SqlStore, code: str) -> None:
    with pytest.raises(StoreUnavailable, match=code), pg_store.begin() as tx:
        _raise(tx, code)


@pytest.mark.parametrize("code", ["42601", "23502", "22001"])
def test_our_own_faults_are_not_reported_as_unavailable(pg_store: SqlStore, code: str) -> None:
    with pytest.raises(RefusedStatement, match=code), pg_store.begin() as tx:
        _raise(tx, code)


def test_errors_never_quote_values(pg_store: SqlStore) -> None:
    new = record(secret="very-secret")
    with pytest.raises(RefusedStatement, match="ck_jobs_wakes_up") as mistake, pg_store.begin() as tx:
        tx.add(new, [(Decision(new.workflow, Verdict.APPLIED), "test")])  # not submitted: it has no time to wake up
    assert "very-secret" not in str(mistake.value)
    assert mistake.value.__suppress_context__


def test_a_backend_killed_in_mid_transaction_leaves_nothing_and_the_next_one_works(
    pg_store: SqlStore, postgres_url: str
) -> None:
    new = record()
    with pytest.raises(StoreUnavailable), pg_store.begin() as tx:  # noqa: PT012
        add(tx, new)
        _kill_others(postgres_url)
        tx.lock(new.workflow.id)
    assert pg_store.get(new.workflow.id) is None
    submit(pg_store, new)


def test_a_failed_commit_raises(pg_store: SqlStore, postgres_url: str) -> None:
    new = record()
    with pytest.raises(StoreUnavailable), pg_store.begin() as tx:  # noqa: PT012
        add(tx, new)
        _kill_others(postgres_url)
    assert pg_store.get(new.workflow.id) is None


def test_stale_pooled_connections_are_replaced(pg_store: SqlStore, postgres_url: str) -> None:
    workflow = submit(pg_store, record())
    _kill_others(postgres_url)
    assert pg_store.state(workflow.id) == workflow
    _kill_others(postgres_url)
    submit(pg_store, record())


def test_a_transaction_that_only_writes_is_sent_again_on_a_new_connection_before_its_commit(
    pg_store: SqlStore, postgres_url: str
) -> None:
    workflow = start(pg_store)
    with pg_store.begin() as tx:
        (creation,) = tx.intents(workflow.id)
    _kill_others(postgres_url)
    with recorded(pg_store) as driver, pg_store.begin() as tx:
        tx.close(creation)
    assert driver.messages == 3  # the statement twice, and then COMMIT by itself
    with pg_store.begin() as tx:
        assert not tx.intents(workflow.id)


def test_a_commit_whose_answer_is_lost_is_not_sent_again(pg_store: SqlStore, postgres_url: str) -> None:
    workflow = start(pg_store)
    with recorded(pg_store) as driver, pytest.raises(StoreUnavailable), pg_store.begin() as tx:  # noqa: PT012
        tx.lock(workflow.id)
        tx.save(Decision(replace(workflow, attempt=2), Verdict.UNCHANGED), "test")
        _kill_others(postgres_url)
    assert driver.messages == 2
    assert pg_store.state(workflow.id) == workflow


def test_a_write_that_fails_keeps_the_commit_that_is_sent_with_it_from_being_run(pg_store: SqlStore) -> None:
    workflow = start(pg_store)
    with pytest.raises(RefusedStatement, match="22012"), pg_store.begin() as tx:  # noqa: PT012
        tx.lock(workflow.id)
        tx.save(Decision(replace(workflow, attempt=2), Verdict.UNCHANGED), "test")
        tx._session.write("SELECT 1 / 0")
    assert pg_store.state(workflow.id) == workflow


def test_a_read_only_server_is_unavailable(pg_store: SqlStore, postgres_url: str) -> None:
    name = postgres_url.split("/")[-1].split("?")[0]
    _execute(postgres_url, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    _kill_others(postgres_url)
    with pytest.raises(StoreUnavailable, match="25006"):
        submit(pg_store, record())
    assert pg_store.find(Query()) == []
    _execute(postgres_url, f"ALTER DATABASE {name} RESET default_transaction_read_only")
    with pytest.raises(StoreUnavailable, match="25006"):  # on the connection that has just read
        submit(pg_store, record())
    submit(pg_store, record())  # it was not kept


@pytest.mark.parametrize("statement", ["SELECT nothing FROM nowhere", "SELECT %(value_that_is_not_given)s"])
def test_a_transaction_with_a_failed_statement_is_not_committed(pg_store: SqlStore, statement: str) -> None:
    new = record()
    with pytest.raises(RefusedStatement, match="cannot be committed"), pg_store.begin() as tx:  # noqa: PT012
        add(tx, new)
        with suppress(Exception):
            tx._session.execute(statement)
    assert pg_store.get(new.workflow.id) is None


def test_an_old_database_without_an_encoding_keeps_every_letter(postgres_server: str) -> None:
    options = "TEMPLATE template0 ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C'"
    with fresh_database(postgres_server, options) as url:
        migrate(url)
        with closing(SqlStore(url)) as store:
            new = record()
            new = replace(new, submission=replace(new.submission, owner="é € 日"))
            submit(store, new)
            found = store.get(new.workflow.id)
            assert found is not None
            assert found.submission.owner == "é € 日"


def test_a_deadlock_fails_one_transaction_as_unavailable(pg_store: SqlStore) -> None:
    a, b = submit(pg_store, record()), submit(pg_store, record())
    both_hold_one = Barrier(2)

    def cross(first: Any, second: Any) -> bool:
        try:
            with pg_store.begin() as tx:
                tx.lock(first.id)
                both_hold_one.wait()
                tx.lock(second.id)
        except StoreUnavailable:
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(cross, (a, b), (b, a))) == [False, True]


def test_waiting_too_long_for_a_lock_is_unavailable(pg_store: SqlStore, monkeypatch: pytest.MonkeyPatch) -> None:
    workflow = submit(pg_store, record())
    with pg_store.begin() as holder:
        holder.lock(workflow.id)
        monkeypatch.setattr(pg_store.pool.driver, "transaction", "BEGIN; SET LOCAL lock_timeout = '50ms'; ")
        with pytest.raises(StoreUnavailable, match="55P03"), pg_store.begin() as tx:
            tx.lock(workflow.id)


def test_locked_workflows_are_skipped(pg_store: SqlStore) -> None:
    held, free = submit(pg_store, record(at(0))), submit(pg_store, record(at(1)))
    future = at(10**6)
    with pg_store.begin() as holder:
        holder.lock(held.id)
        with pg_store.begin() as tx:
            assert tx.oldest_queued("ocean-compute") == free
        assert [workflow.id for workflow in pg_store.claim_workflows(future, future, 10)] == [free.id]


def test_timeouts_apply_to_each_transaction_and_read_and_do_not_outlast_them(pg_store: SqlStore) -> None:
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    asked = "SELECT " + ", ".join(f"current_setting('{name}') AS {name}" for name in names)
    limits = [dict(zip(names, ("5s", "15s", "1min"), strict=True))]
    with pg_store.begin() as tx:
        assert tx._session.execute(asked) == limits
    assert pg_store._read(asked) == limits
    with pg_store.begin() as tx:
        tx._session.execute("COMMIT")
        assert [*tx._session.execute(asked)[0].values()] == ["0", "0", "0"]


def test_an_exhausted_pool_is_unavailable(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "POOL_TIMEOUT", 0.05)
    with (
        closing(SqlStore(postgres_url, pool_size=1)) as store,
        store.begin(),
        pytest.raises(StoreUnavailable, match="became free"),
    ):
        store.find(Query())


@pytest.mark.parametrize("backend", ["postgres", "sqlite"])
def test_a_database_without_tables_names_the_command_to_run(
    empty_postgres_url: str, tmp_path: Any, backend: str
) -> None:
    url = empty_postgres_url if backend == "postgres" else f"sqlite:///{tmp_path}/empty.db"
    with closing(SqlStore(url)) as store, pytest.raises(StoreUnavailable, match="sluice migrate"):
        start(store)


def test_a_locked_sqlite_file_is_unavailable_to_writers_only(sqlite_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite, "BUSY_TIMEOUT", 0)
    with closing(SqlStore(sqlite_url)) as store, closing(sqlite3.connect(sqlite_url[10:])) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(StoreUnavailable, match="locked"):
            submit(store, record())
        assert store.find(Query()) == []  # readers are not kept out


def test_our_own_faults_on_sqlite_are_not_reported_as_unavailable(sqlite_url: str) -> None:
    with closing(SqlStore(sqlite_url)) as store:
        with pytest.raises(RefusedStatement, match="syntax"), store.begin() as tx:
            tx._session.execute("SELEKT 1")
        with pytest.raises(StoreUnavailable, match="sluice migrate"), store.begin() as tx:
            tx._session.execute("INSERT INTO slots (environment, new) VALUES ('a', 'b')")


@pytest.mark.parametrize(("suffix", "synchronous"), [("", 2), ("?synchronous=off", 0)])
def test_an_sqlite_file_waits_for_the_disk_unless_its_url_says_not(
    sqlite_url: str, suffix: str, synchronous: int
) -> None:
    with closing(SqlStore(sqlite_url + suffix)) as store:
        assert store._read("PRAGMA synchronous") == [{"synchronous": synchronous}]
        workflow = start(store)
    with closing(SqlStore(sqlite_url)) as store:
        assert store.state(workflow.id) == workflow


@pytest.mark.parametrize("backend", ["postgres", "sqlite"])
@pytest.mark.parametrize("bad", ["\0", "\ud800"])
def test_text_that_no_database_can_store_does_not_stop_a_workflow(
    request: pytest.FixtureRequest, backend: str, bad: str
) -> None:
    with closing(SqlStore(request.getfixturevalue(f"{backend}_url"))) as store:
        workflow = start(store)
        lost = StageEnded(Stage.CONFIGURE, 1, None, Outcome.FAILED, 31, f"a{bad}é")
        apply(store, workflow.id, lost)
        assert store.history(workflow.id)[-1][0].reason == "a\ufffdé"
        assert store.get(WorkflowId(f"x{bad}")) is None
        assert store.find(Query(owner=bad, agreement_id=bad)) == []


def test_an_sqlite_file_in_a_missing_folder_is_unavailable(tmp_path: Any) -> None:
    with closing(SqlStore(f"sqlite:///{tmp_path}/none/x.db")) as store, pytest.raises(StoreUnavailable):
        store.find(Query())


def _raise(tx: Any, code: str) -> None:
    tx._session.execute(f"DO $$ BEGIN RAISE EXCEPTION 'planned' USING ERRCODE = '{code}'; END $$")


def _kill_others(url: str) -> None:
    _execute(
        url,
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


def _execute(url: str, statement: str) -> None:
    # Also where new transactions are read-only.
    connection = psycopg2.connect(url.replace("+psycopg2", ""), options="-c default_transaction_read_only=off")
    with closing(connection):
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
