"""The light list of workflows, on each adapter of the record."""

from __future__ import annotations

from contextlib import closing

import pytest
from support.records import NOW, apply, at, finish, record, start, submit

from functions.store.listing import STATES, UNFINISHED, select
from functions.store.ports import Store
from functions.store.sql import SqlStore
from functions.store.values import Listing
from functions.workflow.model import Manifest, Outcome, Phase, Stage, Workflow, WorkflowId
from functions.workflow.observation import StageEnded, StopRequested


@pytest.fixture
def mixed(store: Store) -> dict[str, WorkflowId]:
    """One workflow in each state, a second apart, in two environments."""
    failed = start(store, record(at(2), environment="other"))
    ended = StageEnded(Stage.CONFIGURE, 1, None, Outcome.FAILED, 31)
    stopped = apply(store, submit(store, record(at(4), owner="0xAnother")).id, StopRequested(), NOW).workflow
    made = {
        "queued": submit(store, record(at(0))),
        "running": start(store, record(at(1))),
        "failed": finish(store, apply(store, failed.id, ended).workflow),
        "succeeded": finish(store, start(store, record(at(3), origin="ns/name")), Manifest()),
        "stopped": stopped,
    }
    return {name: workflow.id for name, workflow in made.items()}


def found(store: Store, wanted: Listing) -> list[WorkflowId]:
    return [each.id for each in store.summaries(wanted)]


@pytest.mark.parametrize("state", ["queued", "running", "failed", "succeeded", "stopped"])
def test_each_state_has_its_workflows(store: Store, mixed: dict[str, WorkflowId], state: str) -> None:
    assert found(store, Listing(state=state)) == [mixed[state]]


def test_filters_are_combined(store: Store, mixed: dict[str, WorkflowId]) -> None:
    newest_first = [mixed[name] for name in ("stopped", "succeeded", "failed", "running", "queued")]
    assert found(store, Listing()) == newest_first
    assert found(store, Listing(state="active")) == [mixed["running"], mixed["queued"]]
    assert found(store, Listing(environment="other")) == [mixed["failed"]]
    assert found(store, Listing(environment="other", state="queued")) == []
    assert found(store, Listing(dialect="kubernetes")) == [mixed["succeeded"]]
    assert found(store, Listing(dialect="ocean", state="succeeded")) == []
    assert found(store, Listing(owner="0xAnother")) == [mixed["stopped"]]


def test_an_id_is_found_by_its_beginning(store: Store, mixed: dict[str, WorkflowId]) -> None:
    wanted = mixed["failed"]
    assert found(store, Listing(id_prefix=wanted[:12])) == [wanted]
    assert found(store, Listing(id_prefix=wanted)) == [wanted]
    assert found(store, Listing(id_prefix="%")) == []


@pytest.mark.parametrize(
    "wanted",
    [
        *(Listing(state=state) for state in STATES if state != "succeeded"),
        Listing(dialect="tes"),
        Listing(dialect="kubernetes"),
        Listing(environment="e"),
        Listing(owner="o"),
    ],
    ids=str,
)
def test_sqlite_reads_no_more_of_the_record_than_it_must(sqlite_url: str, wanted: Listing) -> None:
    """Without statistics it could walk through all workflows in the order of their creation."""
    with closing(SqlStore(sqlite_url)) as store:
        statement, values = select(wanted)
        for asked, given in ((statement, values), (UNFINISHED, {})):
            plan = str(store.pool.read(f"EXPLAIN QUERY PLAN {asked}", given))
            assert "USING INDEX" in plan
            assert "ix_jobs_created" not in plan
            assert asked is statement or "ix_jobs_environment" not in plan


def test_a_page_goes_on_where_the_last_one_ended(store: Store) -> None:
    made: list[Workflow] = [submit(store, record(at(n // 2))) for n in range(7)]  # two at a time
    seen: list[WorkflowId] = []
    before = None
    while page := store.summaries(Listing(before=before, limit=3)):
        seen += [each.id for each in page]
        before = (page[-1].created_at, page[-1].id)
    assert seen == [each.id for each in sorted(made, key=lambda w: (w.created_at, w.id), reverse=True)]


def test_a_summary_says_what_the_workflow_says(store: Store, mixed: dict[str, WorkflowId]) -> None:
    (summary,) = store.summaries(Listing(state="failed"))
    workflow = store.state(mixed["failed"])
    assert workflow is not None
    assert (summary.status, summary.ending, summary.finished_at) == (
        workflow.status,
        workflow.ending,
        workflow.finished_at,
    )
    assert (summary.environment, summary.created_at, summary.phase) == ("other", at(2), Phase.FINISHED)


def test_unfinished_workflows_are_counted_by_environment_and_phase(store: Store, mixed: dict[str, WorkflowId]) -> None:
    assert store.unfinished_by_phase() == {"ocean-compute": {Phase.QUEUED: 1, Phase.CONFIGURE: 1}}
