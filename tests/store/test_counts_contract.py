"""What every adapter of the store counts for metrics, in one statement."""

from __future__ import annotations

from msgspec.structs import replace
from support.records import NOW, at, finish, record, start, submit
from support.statements import statements

from functions.store.ports import Store
from functions.store.sql import SqlStore
from functions.store.values import Count, Freeze
from functions.workflow.tick import TickLevel


def counts(store: Store) -> dict[tuple[str, str, str], Count]:
    return {(each.kind, each.environment, each.phase): each for each in store.counts()}


def test_an_empty_record_counts_nothing(store: Store) -> None:
    found = counts(store)
    assert {key[0] for key in found} == {"holds", "effects", "events", "dead letters", "freezes", "tick"}
    assert all((each.number, each.earliest) == (0, None) for each in found.values())


def test_unfinished_workflows_are_counted_by_environment_and_phase(store: Store) -> None:
    first, second, other = record(), record(), record()
    later = replace(second, workflow=replace(second.workflow, created_at=at(5)))
    elsewhere = replace(other, workflow=replace(other.workflow, environment="elsewhere"))
    for each in (later, first, elsewhere):
        submit(store, each)
    found = counts(store)
    home = first.workflow.environment
    assert found["workflows", home, "queued"] == Count("workflows", 2, NOW, home, "queued")
    assert found["workflows", "elsewhere", "queued"].number == 1


def test_a_finished_workflow_is_not_counted(store: Store) -> None:
    finish(store, start(store))
    assert [key for key in counts(store) if key[0] == "workflows"] == []


def test_what_is_kept_and_open_is_counted(store: Store) -> None:
    for number in range(3):
        store.add_dead_letter(str(number), "why", {}, at(number))
    with store.begin() as tx:
        tx.freeze(Freeze("all", NOW, "operator", ""))
        tx.save_tick(replace(tx.lock_tick(), level=TickLevel.FAST))
    found = counts(store)
    assert found["freezes", "", ""] == Count("freezes", 1, NOW)
    assert found["dead letters", "", ""] == Count("dead letters", 3, NOW)
    assert found["tick", "", ""].number == TickLevel.FAST


def test_everything_is_counted_in_one_statement(store: Store) -> None:
    if not isinstance(store, SqlStore):
        return
    with statements(store) as sent:
        store.counts()
    assert len(sent) == 1
