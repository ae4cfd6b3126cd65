"""What every adapter of the store promises about GA4GH TES tasks and their lists."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace
from support.records import apply, at, ended, record, start, submit

from functions.store.ports import Store
from functions.store.values import TaskQuery
from functions.workflow.model import DeliveredFile, Limits, Manifest, Record, Streams, WorkflowId
from functions.workflow.observation import StopRequested

EXECUTORS = [{"image": "alpine", "command": ["true"]}]


def new_task(seconds: float = 0, owner: str = "alice", **task: Any) -> Record:
    new = record(at(seconds), limits=Limits(ignore_errors=(False,)), owner=owner, provider="tes")
    document = {"executors": EXECUTORS, "resources": {"ram_gb": 1.0}, **task}
    return replace(new, submission=replace(new.submission, document=document, dialect="tes"))


def added(store: Store, seconds: float = 0, owner: str = "alice", **task: Any) -> WorkflowId:
    return submit(store, new_task(seconds, owner, **task)).id


def found(store: Store, **query: Any) -> list[WorkflowId]:
    return [entry.id for entry in store.find_tasks(TaskQuery(**query))]


def test_a_task_has_one_row_with_its_owner_and_its_state(store: Store) -> None:
    id_ = added(store)
    entry = store.task(id_)
    assert entry is not None
    assert (entry.id, entry.owner, entry.state, entry.created_at) == (id_, "alice", "QUEUED", at(0))
    assert entry.size > 0
    assert store.task(WorkflowId("nobody")) is None


def test_other_workflows_are_no_tasks(store: Store) -> None:
    ocean = submit(store, record())
    assert store.task(ocean.id) is None
    assert found(store) == []
    assert store.get_tasks([ocean.id]) == []


def test_the_state_follows_the_workflow_to_its_end(store: Store) -> None:
    workflow = start(store, new_task())
    manifest = Manifest(
        delivered=(DeliveredFile("s3://b/ä", "/out/ä", 3),), streams=(Streams("hello\n", ""),), warnings=("a link",)
    )
    states = []
    while not workflow.finished:
        entry = store.task(workflow.id)
        assert entry is not None
        states.append(entry.state)
        last = manifest if workflow.stage == "publish" else None
        workflow = apply(store, workflow.id, ended(workflow, last), at(len(states))).workflow
    assert states == ["INITIALIZING", "INITIALIZING", "RUNNING"]
    (whole,) = store.get_tasks([workflow.id])
    assert whole.state == "COMPLETE"
    assert whole.record.workflow == workflow
    assert (whole.record.manifest.delivered, whole.record.manifest.streams) == (manifest.delivered, manifest.streams)
    assert whole.record.manifest.warnings == ("a link",)
    assert [each.stage.value for each in whole.attempts] == ["configure", "algorithm", "publish"]
    after = store.task(workflow.id)
    assert after is not None
    assert after.state == "COMPLETE"


def test_a_stopped_task_is_canceled(store: Store) -> None:
    id_ = added(store)
    apply(store, id_, StopRequested(), at(1))
    assert found(store, state="CANCELED") == [id_]
    assert found(store, state="QUEUED") == []


def test_a_task_comes_back_as_it_was_sent_with_its_warnings(store: Store) -> None:
    new = new_task(name="ä", tags={"b": "", "a": "2"}, description="\U0001f600")
    new = replace(new, submission=replace(new.submission, warnings=("ignored: x",)))
    submit(store, new)
    (whole,) = store.get_tasks([new.workflow.id, WorkflowId("nobody")])
    assert whole.record.submission == new.submission
    assert list(whole.record.submission.document) == list(new.submission.document)
    assert isinstance(whole.record.submission.document["resources"]["ram_gb"], float)


def test_whole_tasks_come_in_the_order_that_is_asked_for(store: Store) -> None:
    ids = [added(store, n) for n in range(4)]
    asked = [ids[2], ids[0], ids[3]]
    assert [whole.record.workflow.id for whole in store.get_tasks(asked)] == asked
    assert store.get_tasks([]) == []


def test_a_list_begins_with_the_newest_task_and_shows_those_of_one_owner(store: Store) -> None:
    mine = [added(store, n) for n in range(3)]
    others = added(store, 10, owner="bob")
    assert found(store, owner="alice") == mine[::-1]
    assert found(store) == [others, *mine[::-1]]
    assert found(store, owner="nobody") == []


def test_pages_follow_each_other_without_a_gap_also_among_equal_times(store: Store) -> None:
    for n in range(7):
        added(store, n // 3)
    everything = found(store, limit=100)
    pages, after = [], None
    while entries := store.find_tasks(TaskQuery(owner="alice", after=after, limit=2)):
        pages += [entry.id for entry in entries]
        after = (entries[-1].created_at, entries[-1].id)
    assert pages == everything


@pytest.mark.parametrize(
    ("prefix", "names"),
    [
        ("Comp", ["CompTest", "Comp"]),
        ("CompTest", ["CompTest"]),
        ("comp", ["comp"]),
        ("Test", []),
        ("C%", ["C%mp"]),
        ("C_", []),
        ("ä", ["äö"]),
        ("x" * 300, ["x" * 300 + "y"]),
        ("x" * 300 + "z", []),
    ],
)
def test_names_are_found_by_their_beginning(prefix: str, names: list[str], store: Store) -> None:
    every = ["Comp", "CompTest", "comp", "C%mp", "äö", "x" * 299, "x" * 300 + "y"]
    ids = {added(store, n, name=name): name for n, name in enumerate(every)}
    added(store, 20)
    assert [ids[id_] for id_ in found(store, owner="alice", name_prefix=prefix)] == names
    assert [ids[id_] for id_ in found(store, name_prefix=prefix)] == names


@pytest.mark.parametrize(
    ("tags", "wanted", "matches"),
    [
        ({"foo": "bar"}, {"foo": "bar"}, True),
        ({"foo": "bar", "baz": "bat"}, {"foo": "bar"}, True),
        ({"foo": "bat"}, {"foo": "bar"}, False),
        ({"foo": ""}, {"foo": ""}, True),
        ({"foo": "bar"}, {"foo": ""}, True),
        ({}, {"foo": ""}, False),
        ({"foo": "bar"}, {"foo": "bar", "baz": "bat"}, False),
        ({"foo": "bar", "baz": "bat"}, {"baz": "bat", "foo": ""}, True),
        ({"k" * 60_000: "v" * 60_000}, {"k" * 60_000: "v" * 60_000}, True),
        ({"k" * 60_000: "v" * 60_000}, {"k" * 60_000: "v" * 59_999}, False),
        ({"Foo": "bar"}, {"foo": "bar"}, False),
    ],
)
def test_tags_are_found_by_pairs(tags: dict[str, str], wanted: dict[str, str], matches: bool, store: Store) -> None:
    id_ = added(store, tags=tags)
    for owner in ("alice", None):
        assert found(store, owner=owner, tags=wanted) == ([id_] if matches else [])
    assert found(store, owner="bob", tags=wanted) == []


def test_filters_by_tags_have_pages_too(store: Store) -> None:
    ids = [added(store, n, tags={"a": "1", "n": str(n)}) for n in range(5)]
    first = store.find_tasks(TaskQuery(owner="alice", tags={"a": "1"}, limit=3))
    assert [entry.id for entry in first] == ids[:1:-1]
    last = (first[-1].created_at, first[-1].id)
    assert found(store, owner="alice", tags={"a": "1"}, after=last) == ids[1::-1]


def test_all_filters_together_must_match(store: Store) -> None:
    right = added(store, 1, name="one", tags={"a": "1"})
    added(store, 2, name="two", tags={"a": "1"})
    added(store, 3, name="one", tags={"a": "2"})
    added(store, 4, "bob", name="one", tags={"a": "1"})
    asked: dict[str, Any] = {"owner": "alice", "name_prefix": "o", "tags": {"a": "1"}}
    assert found(store, state="QUEUED", **asked) == [right]
    assert found(store, state="COMPLETE", **asked) == []


def test_a_task_may_have_a_thousand_tags(store: Store) -> None:
    id_ = added(store, tags={f"key-{n}": f"value-{n}" for n in range(1000)})
    assert found(store, owner="alice", tags={"key-7": "value-7", "key-999": "value-999"}) == [id_]
