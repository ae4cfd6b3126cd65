"""What becomes of the jobs in an operator-service database, and of those that it inserts later."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import pytest
from support.postgres import run_script, select
from support.records import NOW, add, apply, at, finish, record, start

from functions.store.migrate import migrate
from functions.store.sql import SqlStore
from functions.store.values import Query
from functions.workflow.model import Ending, Phase, Stop, WorkflowId
from functions.workflow.observation import StopRequested

FINISHED_OK = WorkflowId("1679091c5a880faf6fb5e6087eb1b2dc")
FAILED_DATA = WorkflowId("eccbc87e4b5ce2fe28308fd9f2a7baf3")


def test_every_old_job_keeps_its_document_and_its_results(old_url: str) -> None:
    columns = "agreementid, workflowid, owner, datecreated, outputsurl, namespace, stopreq, removed, workflow, provider"
    query = f"SELECT {columns} FROM jobs ORDER BY workflowid"
    before = select(old_url, query)
    migrate(old_url)
    assert select(old_url, query) == before
    assert select(old_url, "SELECT namespace, status FROM envs") == [("ocean-compute", '{"allowedChainId":1}')]


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
    unfinished = [WorkflowId(id_) for (id_,) in select(old_url, query)]
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
    run_script(
        old_url,
        """
        DELETE FROM nonces;
        INSERT INTO nonces VALUES
            ('0xa', '1795313469.097671'), ('0xa', '1795313470097'), ('0xa', '1795313469097671000'),
            ('0xb', '1795313469.5'), ('0xc', NULL), ('0xd', 'garbage'), ('0xe', '1795313469')
        """,
    )
    migrate(old_url)
    assert select(old_url, "SELECT provider, nonce, nanoseconds FROM nonces ORDER BY provider") == [
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
    assert select(old_url, "SELECT nonce FROM nonces WHERE provider = '0xa'") == [("1795313470097000002",)]


def test_old_jobs_are_found_by_every_spelling_of_their_ids(old_url: str) -> None:
    run_script(old_url, "UPDATE jobs SET agreementid = '0x' || repeat('aB', 32) WHERE agreementid = '0xagr1'")
    migrate(old_url)
    late = (
        "INSERT INTO jobs (agreementid, workflowid, owner) VALUES (repeat('Ab', 32), 'late', '0X' || repeat('Cd', 20))"
    )
    run_script(old_url, late)
    with closing(SqlStore(old_url)) as store:
        assert len(store.find(Query(owner="c41808bbef371ad5cfc76466ddf9dee228d2bdaa", limit=99))) >= 5
        found = store.find(Query(agreement_id="AB" * 32))
        assert {record.workflow.id for record in found} == {"late", "c4ca4238a0b923820dcc509a6f75849b"}
        assert [record.workflow.id for record in store.find(Query(owner="cD" * 20))] == ["late"]


@pytest.mark.parametrize("chain", ['"' + "x" * 300 + '"', '"a\\u0000b"', '"\\ud800"', "1" * 300, "[1]"])
def test_an_old_chain_id_that_fits_no_column_does_not_stop_the_upgrade(old_url: str, chain: str) -> None:
    document = f'{{"spec": {{"metadata": {{"chainId": {chain}}}}}}}'
    run_script(old_url, f"INSERT INTO jobs (agreementid, workflowid, workflow) VALUES ('a', 'odd', '{document}')")
    migrate(old_url)
    ((found,),) = select(old_url, "SELECT chain_id FROM jobs WHERE workflowid = 'odd'")
    assert found in (None, "[1]")


@pytest.mark.parametrize("nonce", ["1e300", "1e999999", "9" * 200, "1e999999999999999999"])
def test_an_old_nonce_of_any_size_does_not_stop_the_upgrade(old_url: str, nonce: str) -> None:
    run_script(old_url, f"INSERT INTO nonces VALUES ('0xA', '{nonce}')")
    migrate(old_url)
    assert select(old_url, "SELECT nanoseconds FROM nonces WHERE provider = '0xa'") == [(2**63 - 1,)]


def test_malformed_old_rows_are_read_as_empty(old_url: str) -> None:
    run_script(
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


def test_jobs_of_operator_service_are_adopted_whenever_it_inserted_them(old_store: SqlStore) -> None:
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
    found = {record.workflow.id for record in old_store.find(Query(provider="somebody"))}
    assert found == set(adopted), "no provider can be told of, so every provider finds them"
