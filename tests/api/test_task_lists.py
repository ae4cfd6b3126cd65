"""The lists of GA4GH TES: views, filters and pages."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from typing import Any

import pytest
from support.api import Clock
from support.tes import TesApi, tes_app

from functions.api.tes.list_query import MAX_PAGE
from functions.status import tasks
from functions.store.ports import Store


@pytest.fixture
def tes(store: Store) -> TesApi:
    return TesApi(tes_app(store))


def created(tes: TesApi, count: int, **task: Any) -> list[str]:
    """The ids of new tasks, the newest first; two share each second."""
    ids = []
    for n in range(count):
        ids.append(tes.create(**task))
        if n % 2:
            assert isinstance(tes.app.clock, Clock)
            tes.app.clock.pass_(seconds=1)
    return ids[::-1]


def test_an_empty_list_is_an_empty_list(tes: TesApi) -> None:
    assert tes.get("/tasks").json == {"tasks": []}


@pytest.mark.parametrize("view", ["MINIMAL", "BASIC", "FULL"])
def test_a_list_shows_each_task_as_the_task_itself_is_shown(view: str, tes: TesApi) -> None:
    ids = created(tes, 3, inputs=[{"content": "x", "path": "/in/x"}])
    listed = tes.get("/tasks", view=view).json
    assert listed == {"tasks": [tes.task(id_, view) for id_ in ids]}


def test_the_view_of_a_list_and_of_a_task_is_minimal_unless_asked_for(tes: TesApi) -> None:
    id_ = tes.create()
    assert tes.get("/tasks").json == {"tasks": [{"id": id_, "state": "QUEUED"}]}
    assert tes.get(f"/tasks/{id_}").json == {"id": id_, "state": "QUEUED"}


@pytest.mark.parametrize("view", ["MINIMAL", "FULL"])
def test_pages_follow_each_other_to_the_end(view: str, tes: TesApi) -> None:
    ids = created(tes, 5)
    pages, token = [], ""
    while True:
        page = tes.get("/tasks", page_size=2, page_token=token, view=view).json
        pages.append([task["id"] for task in page["tasks"]])
        if "next_page_token" not in page:
            break
        token = page["next_page_token"]
    assert pages == [ids[:2], ids[2:4], ids[4:]]


def test_a_full_last_page_has_no_next_one(tes: TesApi) -> None:
    created(tes, 2)
    assert "next_page_token" not in tes.get("/tasks", page_size=2).json


def test_a_page_of_large_tasks_is_shorter_than_asked_for(tes: TesApi, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "MAX_PAGE_BYTES", 2500)
    ids = created(tes, 5, description="x" * 1000)
    first = tes.get("/tasks", view="BASIC").json
    assert [task["id"] for task in first["tasks"]] == ids[:2]
    assert tes.listed(page_token=first["next_page_token"]) == ids[2:]
    monkeypatch.setattr(tasks, "MAX_PAGE_BYTES", 1)
    assert tes.listed(view="BASIC") == ids[:1]


def test_a_filter_by_tags_pairs_keys_and_values_by_position(tes: TesApi) -> None:
    both = tes.create(tags={"foo": "bar", "baz": "bat"})
    one = tes.create(tags={"foo": "bar"})
    empty = tes.create(tags={"foo": ""})
    tes.create()
    assert tes.listed(tag_key="foo") == [empty, one, both]
    assert tes.listed(tag_key="foo", tag_value="bar") == [one, both]
    assert tes.listed(tag_key=["baz", "foo"], tag_value=["bat", "bar"]) == [both]
    assert tes.listed(tag_key=["baz", "foo"], tag_value="bat") == [both]
    assert tes.listed(tag_key=["foo", "nothing"], tag_value=["bar", ""]) == []
    assert tes.listed(tag_key=["foo", "foo"], tag_value=["bar", "bat"]) == []
    assert tes.listed(tag_key="foo", tag_value="BAR") == []


def test_a_filter_by_name_takes_beginnings_alone(tes: TesApi) -> None:
    id_ = tes.create(name="CompTest-f9327c19")
    assert tes.listed(name_prefix="CompTest-") == [id_]
    assert tes.listed(name_prefix="f9327c19") == []
    assert tes.listed(name_prefix="") == [id_]


def test_a_filter_by_state_takes_every_state_of_tes(tes: TesApi) -> None:
    first, second = tes.create(), tes.create()
    tes.post(f"/tasks/{first}:cancel")
    assert tes.listed(state="QUEUED") == [second]
    assert tes.listed(state="CANCELED") == [first]
    for state in ("UNKNOWN", "PAUSED", "PREEMPTED", "COMPLETE"):
        assert tes.listed(state=state) == []


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ({"view": "HUGE"}, "view"),
        ({"view": "basic"}, "view"),
        ({"state": "DONE"}, "state"),
        ({"page_size": "0"}, "page_size"),
        ({"page_size": "-1"}, "page_size"),
        ({"page_size": "two"}, "page_size"),
        ({"page_size": "1" * 30}, "page_size"),
        ({"page_size": "١"}, "page_size"),
        ({"page_token": "x"}, "page_token"),
        ({"page_token": "MjAyNi0wMS0wMQ=="}, "page_token"),
        ({"page_token": "/" * 5000}, "page_token"),
        ({"page_token": urlsafe_b64encode(b"0001-01-01T00:00:00+23:59 x").decode()}, "page_token"),
        ({"page_token": urlsafe_b64encode(b"9999-12-31T23:59:59-23:59 x").decode()}, "page_token"),
        ({"tag_value": "x"}, "tag_value"),
        ({"tag_key": ["k"] * 101}, "tag_key"),
        ({"tag_key": "x" * 5000}, "tag_key"),
        ({"name_prefix": "a\0"}, "name_prefix"),
    ],
)
def test_a_wrong_query_is_refused_with_the_name_of_its_parameter(query: dict[str, Any], name: str) -> None:
    answer = TesApi(tes_app()).get("/tasks", **query)
    assert answer.status_code == 400, answer.text
    assert answer.json["error"].startswith(f"`{name}`: expected")


def test_a_page_has_at_most_2047_tasks(tes: TesApi) -> None:
    assert MAX_PAGE == 2047
    assert tes.get("/tasks", page_size=10**9).status_code == 200
