"""What events may do to `advance` as it is served: F1, F3, F4, F6, F9, F11, F12; F19 and F21 as a sender sees them."""

from __future__ import annotations

import copy
import dataclasses
import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
import urllib3
from click.testing import CliRunner
from msgspec.structs import replace
from support.api import function
from support.laptop import until
from support.served import served
from support.serving import serving
from support.world import World, record
from werkzeug.serving import make_server
from werkzeug.test import Client, TestResponse

from functions.cli.main import main
from functions.cluster.ports import ClusterUnavailable
from functions.local.broker import Broker, Message
from functions.local.http_server import Post
from functions.local.triggers import DeliverySpec, Trigger
from functions.store.ports import StoreUnavailable
from functions.store.sql import SqlStore
from functions.workflow.model import Stage

Event = tuple[dict[str, str], Any]
BINARY = {
    "ce-specversion": "1.0",
    "ce-type": "dev.knative.apiserver.resource.update",
    "ce-source": "https://10.96.0.1:443",
    "ce-id": "1",
    "Content-Type": "application/json",
}
BATCH, STRUCTURED = ({"Content-Type": f"application/cloudevents{kind}+json"} for kind in ("-batch", ""))


def without(name: str) -> dict[str, str]:
    return {key: value for key, value in BINARY.items() if key != name}


@pytest.fixture(scope="module")
def advance_alone() -> Iterator[int]:
    """`advance` as a process whose database and cluster are not there: whoever touches them is answered 503."""
    environ = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none", "SLUICE_CLUSTER": "memory", "LOG_LEVEL": "ERROR"}
    with served("advance", **environ, RESULTS_URL="file:///nowhere") as ports:
        yield ports["advance"]


def post(port: int, body: Any, headers: dict[str, str], path: str = "/") -> tuple[int, bytes]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        connection.request("POST", path, body, headers, encode_chunked="Transfer-Encoding" in headers)
        answer = connection.getresponse()
        return answer.status, answer.read()


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (b"{}", without("ce-id"), 400),
        (b"{}", without("ce-type"), 400),
        (b"{}", without("ce-source"), 400),
        (b"{}", without("ce-specversion"), 400),
        (b"{}", {**BINARY, "ce-id": " "}, 400),
        (b'{"kind": "Job"', BINARY, 400),
        (b"\xff\xfe", BINARY, 400),
        (b"[" * 100_000, BINARY, 400),
        (b"<a/>", {**BINARY, "Content-Type": "text/xml"}, 415),
        (b"[]", BATCH, 415),
        (b"[]", STRUCTURED, 400),
        (b"", STRUCTURED, 400),
        (b" " * ((1 << 20) + 1), BINARY, 413),
        (iter([b" " * (1 << 19)] * 3), {**BINARY, "Transfer-Encoding": "chunked"}, 413),
    ],
    ids=lambda value: str(value) if isinstance(value, int) else "",
)
def test_f9_a_malformed_event_is_refused_before_any_io(
    advance_alone: int, body: Any, headers: dict[str, str], status: int
) -> None:
    assert post(advance_alone, body, headers)[0] == status


@pytest.mark.parametrize(
    "body", [b"null", b"[]", b"{}", b'"Job"', b'{"kind": "Job"}', b'{"kind": "Pod", "metadata": 1}']
)
def test_f9_data_without_a_meaning_are_ignored_before_any_io(advance_alone: int, body: bytes) -> None:
    assert post(advance_alone, body, BINARY) == (204, b"")


def test_f19_an_event_that_matters_comes_again_while_the_database_is_away(advance_alone: int) -> None:
    world = World()
    world.end_job(world.submit())
    headers, body = world.events[-1]
    status, text = post(advance_alone, json.dumps(body), dict(headers))
    assert status == 503
    assert b"127.0.0.1" not in text


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def deliver(world: World) -> Callable[[Event], TestResponse]:
    """Posts an event to `advance` on the world's parts."""
    client = Client(function("advance", world.app))

    def post(event: Event) -> TestResponse:
        headers, body = event
        return client.post("/", data=json.dumps(body), headers=headers)

    return post


def over(world: World, w: Any) -> Event:
    """The current Job ends; the event that says so, not yet delivered."""
    world.end_job(w)
    headers, body = world.events[-1]
    world.events.clear()
    return dict(headers), body


def renumbered(event: Event) -> Event:
    return {**event[0], "ce-id": str(uuid4())}, event[1]


@pytest.mark.parametrize("again", [lambda e: e, renumbered], ids=["F1 the same event", "F3 under a new id"])
def test_f1_f3_the_same_fact_many_times_is_one_transition(
    world: World, deliver: Callable[[Event], TestResponse], again: Callable[[Event], Event]
) -> None:
    w = world.submit()
    event = over(world, w)
    for _ in range(10):
        assert deliver(event).status_code == 204
        event = again(event)
    assert list(world.lines(w)) == ["submitted", "admitted", "configure succeeded"]
    assert set(world.cluster.created.values()) == {1}


def test_f4_events_in_the_wrong_order_change_nothing_before_their_time_or_after_it(
    world: World, deliver: Callable[[Event], TestResponse]
) -> None:
    other = World()  # gives the events of the same Jobs ahead of their time
    w = other.submit()
    events = []
    while not other.state(w).finished:
        events.append(over(other, w))
        other.receive(*events[-1])
    assert world.submit() == w
    for event in reversed(events):
        assert deliver(event).status_code == 204
    assert world.state(w).stage is Stage.CONFIGURE
    world.run(w)
    end = world.state(w)
    for event in events:
        assert deliver(event).status_code == 204
    assert world.state(w) == end


@pytest.mark.parametrize("job", ["f" * 32, ""], ids=["an unknown workflow", "nobody's Job"])
def test_f6_an_event_of_somebody_else_is_taken_and_costs_the_cluster_nothing(
    world: World, deliver: Callable[[Event], TestResponse], job: str
) -> None:
    w = world.submit()
    headers, body = copy.deepcopy(over(world, w))
    body["metadata"]["labels"]["workflow"] = job
    body["metadata"]["name"] = f"{job}-configure-1"
    before, calls = world.state(w), sum(world.cluster.calls.values())
    assert deliver((headers, body)).status_code == 204
    assert (world.state(w), sum(world.cluster.calls.values())) == (before, calls)


@pytest.mark.parametrize("end", ["finished", "stopped", "deleted"])
def test_f12_after_the_end_an_event_changes_nothing(
    world: World, deliver: Callable[[Event], TestResponse], end: str
) -> None:
    w = world.submit()
    events = [over(world, w)]
    if end != "finished":
        getattr(world, {"stopped": "stop", "deleted": "delete"}[end])(w)
    while not world.state(w).finished:
        world.receive(*events[-1])
        if not world.state(w).finished:
            events.append(over(world, w))
    before = world.state(w), list(world.lines(w)), dict(world.cluster.created)
    for event in events:
        assert deliver(event).status_code == 204
    assert (world.state(w), list(world.lines(w)), dict(world.cluster.created)) == before


@pytest.mark.parametrize("part", ["cluster", "store"])
def test_f21_an_unavailable_part_answers_503_with_a_time_to_retry(
    world: World, deliver: Callable[[Event], TestResponse], monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    event = over(world, world.submit())

    def away(*_: object) -> Any:
        raise ClusterUnavailable("away", retry_after=7) if part == "cluster" else StoreUnavailable("away")

    with monkeypatch.context() as patch:
        target = world.app.transitions if part == "store" else type(world.cluster)
        patch.setattr(target, "apply" if part == "store" else "read", away)
        answered = deliver(event)
    assert (answered.status_code, answered.headers["Retry-After"]) == (503, "5" if part == "store" else "7")
    assert deliver(event).status_code == 204


def test_f21_an_event_that_waits_too_long_for_a_lock_comes_again_and_passes(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(SqlStore(postgres_url)) as store:
        monkeypatch.setattr(store.pool.driver, "transaction", "BEGIN; SET LOCAL lock_timeout = '50ms'; ")
        world = World(store=store)
        client = Client(function("advance", world.app))
        w = world.submit()
        headers, body = over(world, w)
        with store.begin() as holder:
            holder.lock(w)
            assert client.post("/", json=body, headers=headers).status_code == 503
        assert list(world.lines(w)) == ["submitted", "admitted"]
        assert client.post("/", json=body, headers=headers).status_code == 204
        assert list(world.lines(w))[2:] == ["configure succeeded"]


def test_f11_a_poison_event_leaves_the_queue_for_the_dead_letters_and_is_listed(tmp_path: Path) -> None:
    """Through a broker with Knative's rules, into the record, out by the command line."""
    world = World()
    world.app.settings = dataclasses.replace(world.app.settings, open_admin=True)
    headers, body = over(world, world.submit())
    poison = Message({**headers, "ce-id": "poison-1"}, json.dumps(body).encode())

    def fails(*_: object, **__: object) -> Any:
        raise ZeroDivisionError

    world.app.transitions.apply = fails  # type: ignore[method-assign]
    advance = make_server("127.0.0.1", 0, function("advance", world.app), threaded=True)
    status = make_server("127.0.0.1", 0, function("status", world.app), threaded=True)
    broker = Broker(Post(urllib3.PoolManager()), workers=2)
    with serving(advance), serving(status):
        to = f"http://127.0.0.1:{advance.port}"
        delivery = DeliverySpec(retries=2, delay=0.01, dead_letter_sink=f"{to}/dead-letters")
        broker.start([Trigger("t", lambda _: True, f"{to}/", delivery)])
        try:
            assert broker.accept(poison)
            until(lambda: world.app.store.dead_letters(10), lambda letters: len(letters) == 1)
        finally:
            broker.stop()
        home = {"HOME": str(tmp_path), "SLUICE_URL": f"http://127.0.0.1:{status.port}"}
        listed = CliRunner().invoke(main, ["dead-letters"], env=home)
        in_json = CliRunner().invoke(main, ["dead-letters", "--json"], env=home)
    assert listed.exit_code == 0, listed.output
    assert "poison-1" in listed.output
    (letter,) = json.loads(in_json.output)
    assert "500" in letter["reason"]
    assert body["metadata"]["name"] in in_json.output  # which object it was about
    assert "containerStatuses" not in in_json.output  # but not what the object held


def test_f11_a_workflow_that_cannot_be_handled_does_not_keep_the_sweep_from_the_others() -> None:
    world = World(max_jobs=2)
    poison, healthy, queued = (world.submit() for _ in range(3))
    world.end_job(poison)
    world.end_job(healthy)
    world.events.clear()
    applying = world.app.transitions.apply

    def apply(workflow: Any, *more: Any) -> Any:
        if workflow == poison:
            raise ZeroDivisionError
        return applying(workflow, *more)

    world.app.transitions.apply = apply  # type: ignore[method-assign,assignment]
    repaired = world.tick()
    assert repaired["failed"] == 1
    assert world.state(healthy).stage is Stage.ALGORITHM
    world.run(healthy)
    assert world.state(queued).stage is Stage.CONFIGURE


def test_f16_a_document_that_nobody_can_read_any_more_fails_its_workflow_instead_of_the_handler() -> None:
    """Such as a row that operator-service has inserted while it was being replaced."""
    world = World()
    new = record(world.app, 1)
    world.app.transitions.submit(replace(new, submission=replace(new.submission, document={})), "test")
    for _ in range(3):
        world.tick()
    ending = world.state(new.workflow.id).ending
    assert ending is not None
    assert ending.reason == "DocumentInvalid"
    assert world.state(new.workflow.id).finished
