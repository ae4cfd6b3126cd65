"""A database is brought up to date from nothing and, in place, from operator-service's schema."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from support.records import NOW, add, apply, at, finish, record, start
from support.sqlite_schema import render

from functions.store.migrate import MIGRATIONS, SQLITE_SCHEMA, migrate, upgrade
from functions.store.ports import Query, RefusedStatement
from functions.store.sql import SqlStore
from functions.workflow.model import Ending, Phase, Stop, WorkflowId
from functions.workflow.observation import StopRequested

RECORDED = Path(__file__).parents[1] / "data" / "operator-service-database.sql"
ALL = sorted(path.stem for path in (MIGRATIONS / "versions").glob("0*.py"))
FINISHED_OK = WorkflowId("1679091c5a880faf6fb5e6087eb1b2dc")
FAILED_DATA = WorkflowId("eccbc87e4b5ce2fe28308fd9f2a7baf3")


@pytest.fixture
def old_url(empty_postgres_url: str) -> str:
    """A database as a running operator-service left it."""
    _run(empty_postgres_url, RECORDED.read_text())
    return empty_postgres_url


@pytest.fixture
def old_store(old_url: str) -> Iterator[SqlStore]:
    """The same, upgraded in place."""
    migrate(old_url)
    with closing(SqlStore(old_url)) as store:
        yield store


def test_from_nothing_all_migrations_are_applied_once(empty_postgres_url: str, tmp_path: Path) -> None:
    for url in (empty_postgres_url, f"sqlite:///{tmp_path}/new.db"):
        assert migrate(url) == ALL
        assert migrate(url) == []


def test_an_operator_service_database_is_upgraded_once(old_url: str) -> None:
    assert migrate(old_url) == ALL
    before = _dump(old_url)
    assert migrate(old_url) == []
    assert _dump(old_url) == before


def test_both_ways_lead_to_the_same_schema(old_url: str, postgres_url: str) -> None:
    migrate(old_url)
    assert _schema(old_url) == _schema(postgres_url)


def test_a_new_sqlite_file_is_what_all_migrations_would_make_of_it(tmp_path: Path) -> None:
    at_once, step_by_step = f"sqlite:///{tmp_path}/at-once.db", f"sqlite:///{tmp_path}/step-by-step.db"
    migrate(at_once)
    assert upgrade(step_by_step, "head") == ALL
    assert _sqlite_schema(at_once) == _sqlite_schema(step_by_step)
    assert upgrade(at_once, "head") == []


def test_an_sqlite_file_of_an_earlier_revision_is_brought_up_to_date(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/old.db"
    upgrade(url, "0001")
    assert migrate(url) == ALL[1:]


def test_the_script_for_a_new_sqlite_file_is_up_to_date() -> None:
    assert SQLITE_SCHEMA.read_text() == render(), "write it anew: PYTHONPATH=tests python -m support.sqlite_schema"


def test_a_database_of_a_newer_program_is_left_as_it_is(sqlite_url: str, caplog: pytest.LogCaptureFixture) -> None:
    with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"))) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert migrate(sqlite_url) == []
    assert "newer than this program" in caplog.text


def test_what_is_up_to_date_is_known_to_be_without_alembic(sqlite_url: str, postgres_url: str) -> None:
    for url in (sqlite_url, postgres_url):
        program = (
            "import sys; from functions.store.migrate import migrate;"
            f"print(migrate({url!r}), 'alembic' in sys.modules, 'sqlalchemy' in sys.modules)"
        )
        ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert ended.stdout == "[] False False\n"


def test_migrations_at_once_apply_each_one_once(old_url: str) -> None:
    program = f"from functions.store.migrate import migrate; print(*migrate({old_url!r}))"
    command = [sys.executable, "-c", program]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    answers = [run.communicate()[0].split() for run in runs]
    assert [run.returncode for run in runs] == [0, 0, 0]
    assert sorted(answers) == [[], [], ALL]


def test_migrations_in_threads_of_one_process_apply_each_one_once(empty_postgres_url: str) -> None:
    with ThreadPoolExecutor(3) as pool:
        assert sorted(pool.map(migrate, [empty_postgres_url] * 3)) == [[], [], ALL]


def test_a_migration_that_fails_leaves_the_database_as_it_was(old_url: str) -> None:
    _run(old_url, "INSERT INTO jobs (agreementid, workflowid) SELECT 'twice', workflowid FROM jobs LIMIT 1")
    before = _dump(old_url)
    with pytest.raises(RefusedStatement, match="ux_jobs_workflowid"):
        migrate(old_url)
    assert _dump(old_url) == before


# --- what becomes of old jobs ---------------------------------------------------------------


def test_no_job_is_lost_and_what_was_asked_for_is_kept(old_url: str) -> None:
    columns = "agreementid, workflowid, owner, datecreated, outputsurl, namespace, stopreq, removed, workflow, provider"
    query = f"SELECT {columns} FROM jobs ORDER BY workflowid"
    before = _rows(old_url, query)
    migrate(old_url)
    assert _rows(old_url, query) == before
    assert _rows(old_url, "SELECT namespace, status FROM envs") == [("ocean-compute", '{"allowedChainId":1}')]


def test_finished_jobs_are_answered_as_before(old_store: SqlStore) -> None:
    done = old_store.get(FINISHED_OK)
    assert done is not None
    workflow, submission = done.workflow, done.submission
    assert (workflow.phase, workflow.status, workflow.ending) == (Phase.FINISHED, 70, None)
    assert workflow.created_at == datetime(2024, 3, 1, 10, 6, tzinfo=UTC)
    assert workflow.finished_at == datetime(2024, 3, 1, 10, 11, tzinfo=UTC)
    assert workflow.environment == "ocean-compute"
    assert (submission.agreement_id, submission.secret) == ("0xagr6", "df23e9013e9e4ee8aae02db64a763224")
    assert submission.document["stages"][0]["algorithm"]["container"]["image"] == "node"
    assert [(f.filename, f.size, f.type, f.path) for f in done.manifest.files] == [
        ("result.csv", 1834, "output", "outputs/result.csv"),
        ("algorithm.log", 211, "algorithmLog", "logs/algorithm.log"),
        ("configure.log", 1022, "configrationLog", "adminlogs/configure.log"),
    ]
    assert done.manifest.files[0].url.endswith("/1679091c5a880faf6fb5e6087eb1b2dc/data/outputs/result.csv")
    failed = old_store.get(FAILED_DATA)
    assert failed is not None
    assert (failed.workflow.status, failed.workflow.phase) == (31, Phase.FINISHED)


def test_unfinished_jobs_end_as_lost_with_a_reason(old_url: str) -> None:
    query = "SELECT workflowid FROM jobs WHERE datefinished IS NULL"
    unfinished = [WorkflowId(id_) for (id_,) in _rows(old_url, query)]
    migrate(old_url)
    with closing(SqlStore(old_url)) as store:
        assert len(unfinished) == 5
        assert store.find(Query(unfinished=True)) == []
        for id_ in unfinished:
            workflow = store.state(id_)
            assert workflow is not None
            assert (workflow.status, workflow.ending, workflow.step) == (41, Ending(41, "Lost"), 1)
            assert workflow.finished_at is not None
            assert workflow.wake_at is None
            ((line, cause),) = store.history(id_)
            assert (line.after, line.reason, cause) == (Phase.FINISHED, "Lost", "migration")
        stopped = store.state(WorkflowId("e4da3b7fbbce2345d7772b0674a318d5"))
        assert stopped is not None
        assert stopped.stop is Stop.REQUESTED


def test_the_sweep_finds_nothing_to_do_for_old_jobs(old_store: SqlStore) -> None:
    future = datetime(2100, 1, 1, tzinfo=UTC)
    assert old_store.claim_workflows(future, future, 10) == []
    assert old_store.queues() == []
    assert old_store.running() == {}


def test_new_workflows_are_accepted_beside_the_old_ones(old_store: SqlStore) -> None:
    finish(old_store, start(old_store, record(agreement="0xagr1")))
    assert len(old_store.find(Query(agreement_id="0xagr1"))) == 2


def test_each_provider_keeps_its_highest_nonce_in_any_unit(old_url: str) -> None:
    _run(
        old_url,
        """
        DELETE FROM nonces;
        INSERT INTO nonces VALUES
            ('0xa', '1795313469.097671'), ('0xa', '1795313470097'), ('0xa', '1795313469097671000'),
            ('0xb', '1795313469.5'), ('0xc', NULL), ('0xd', 'garbage'), ('0xe', '1795313469')
        """,
    )
    migrate(old_url)
    assert _rows(old_url, "SELECT provider, nonce, nanoseconds FROM nonces ORDER BY provider") == [
        ("0xa", "1795313470097000000", 1795313470097000000),
        ("0xb", "1795313469500000000", 1795313469500000000),
        ("0xc", "0", 0),
        ("0xd", "0", 0),
        ("0xe", "1795313469000000000", 1795313469000000000),
    ]
    with closing(SqlStore(old_url)) as store:
        with store.begin() as tx:
            assert not tx.use_nonce("0xa", 1795313470097000000)
            assert not tx.use_nonce("0xa", 1795313470096999999)
            assert tx.use_nonce("0xa", 1795313470097000002)
            assert tx.use_nonce("0xa", 1795313470097000001)
        store.prune_nonces(1795313470097000002)
    # What operator-service would go on with.
    assert _rows(old_url, "SELECT nonce FROM nonces WHERE provider = '0xa'") == [("1795313470097000002",)]


def test_rows_that_operator_service_would_choke_on_are_read_all_the_same(old_url: str) -> None:
    _run(
        old_url,
        """
        INSERT INTO jobs (agreementid, workflowid, workflow, outputsurl, datecreated) VALUES
            ('a', 'no-document', NULL, NULL, NULL), ('b', 'bad-document', 'not json', 'not json', now()),
            ('c', 'odd-document', '[1]', '[1, {}]', now())
        """,
    )
    migrate(old_url)
    with closing(SqlStore(old_url)) as store:
        for id_ in ("no-document", "bad-document", "odd-document"):
            found = store.get(WorkflowId(id_))
            assert found is not None
            assert (found.submission.document, found.submission.secret) == ({}, "")


# --- the old program beside the new one -----------------------------------------------------


def test_a_job_that_operator_service_inserts_after_the_upgrade_is_a_queued_workflow(old_store: SqlStore) -> None:
    with old_store.begin() as tx:
        add(tx, record(at(10)))
    with old_store.begin() as tx:
        tx._session.execute(
            "INSERT INTO jobs (agreementId, workflowId, owner, status, statusText, workflow, namespace, provider) "
            "VALUES ('new', 'fromoldcode', '0xO', 1, 'Warming up', '{}', 'ocean-compute', '0xp')"
        )
    with old_store.begin() as tx:
        current = tx.lock(WorkflowId("fromoldcode"))
    assert current is not None
    assert (current.phase, current.step) == (Phase.QUEUED, 0)
    assert current.deadline is not None
    assert [w.id for w in old_store.claim_workflows(NOW, at(30), 10)] == ["fromoldcode"]


def test_jobs_of_operator_service_are_known_as_adopted_whenever_they_were_inserted(old_store: SqlStore) -> None:
    ours = finish(old_store, start(old_store))
    with old_store.begin() as tx:
        tx._session.execute(
            "INSERT INTO jobs (agreementId, workflowId, namespace) VALUES ('new', 'fromoldcode', 'ocean-compute')"
        )
    later = WorkflowId("fromoldcode")
    apply(old_store, later, StopRequested(), at(1))
    adopted = {record.workflow.id: record.submission.adopted for record in old_store.find(Query())}
    assert adopted.pop(ours.id) is False
    assert adopted[later]
    assert all(adopted.values())


def _run(url: str, script: str) -> None:
    with closing(_connect(url)) as connection, connection, connection.cursor() as cursor:
        cursor.execute(script)


def _rows(url: str, query: str) -> list[tuple[Any, ...]]:
    with closing(_connect(url)) as connection, connection.cursor() as cursor:
        cursor.execute(query)
        return list(cursor.fetchall())


def _connect(url: str) -> Any:
    import psycopg2

    return psycopg2.connect(url.replace("+psycopg2", ""))


def _sqlite_schema(url: str) -> list[tuple[Any, ...]]:
    """Tables and indexes, without the spaces and quotes that SQLite keeps as they were written."""
    with closing(sqlite3.connect(url.removeprefix("sqlite:///"))) as connection:
        made = connection.execute("SELECT type, name, sql FROM sqlite_master ORDER BY 1, 2").fetchall()
        return [(kind, name, "".join((sql or "").replace('"', "").split())) for kind, name, sql in made]


def _dump(url: str) -> list[tuple[Any, ...]]:
    tables = [name for (name,) in _rows(url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")]
    return [(name, *row) for name in tables for row in sorted(_rows(url, f"SELECT * FROM {name}"), key=repr)]


def _schema(url: str) -> list[tuple[Any, ...]]:
    """Columns, indexes and constraints; the order of columns is history and means nothing."""
    columns = "table_name, column_name, data_type, character_maximum_length, is_nullable, column_default"
    return [
        *_rows(url, f"SELECT {columns} FROM information_schema.columns WHERE table_schema = 'public' ORDER BY 1, 2"),
        *_rows(url, "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1, 2"),
        *_rows(
            url,
            "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint "
            "WHERE connamespace = 'public'::regnamespace ORDER BY 1, 2",
        ),
    ]


def test_alembic_does_not_write_into_our_log(tmp_path: Path) -> None:
    program = (
        "from functions import log; from functions.store.migrate import migrate;"
        f"log.setup(); print(len(migrate('sqlite:///{tmp_path}/sluice.db')))"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (ended.stdout, ended.stderr) == (f"{len(ALL)}\n", "")
