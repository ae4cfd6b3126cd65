"""The broker delivers as Knative's does: which failures it retries, and what becomes a dead letter."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from support.laptop import until
from werkzeug.test import Client

from functions.local import broker as brokers
from functions.local.broker import Answer, Broker, Message
from functions.local.triggers import DeliverySpec, Trigger

EVENT = Message({"ce-id": "1", "ce-type": "t", "ce-source": "s", "ce-specversion": "1.0"}, b'{"a": 1}')
TO, DEAD = "http://subscriber/", "http://dead/letters"
QUICK = DeliverySpec(retries=3, delay=0.01, dead_letter_sink=DEAD)
ACCEPTED = Answer(202, {}, b"")


@dataclass
class Subscriber:
    """Gives the answers of its script, and repeats the last one. Records what it was sent."""

    script: dict[str, list[Answer | OSError]]
    got: list[tuple[str, Message]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def __call__(self, url: str, message: Message) -> Answer:
        with self.lock:
            self.got.append((url, message))
            answers = self.script.get(url, [ACCEPTED])
            answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, OSError):
            raise answer
        return answer

    def count(self, url: str) -> int:
        return sum(to == url for to, _ in self.got)


@dataclass
class Running:
    brokers: list[Broker] = field(default_factory=list)

    def __call__(self, script: list[Answer | OSError], delivery: DeliverySpec = QUICK) -> tuple[Broker, Subscriber]:
        subscriber = Subscriber({TO: script})
        broker = Broker(subscriber, workers=2)
        self.brokers.append(broker)
        broker.start([Trigger("t", lambda event: event["type"] == "t", TO, delivery)])
        return broker, subscriber


@pytest.fixture
def running() -> Iterator[Running]:
    started = Running()
    yield started
    for broker in started.brokers:
        broker.stop()


@pytest.mark.parametrize("status", [404, 408, 409, 429, 500, 502, 503])
def test_a_temporary_failure_is_retried(running: Running, status: int) -> None:
    broker, subscriber = running([Answer(status, {}, b""), ACCEPTED])
    assert broker.accept(EVENT)
    until(lambda: subscriber.count(TO), lambda n: n == 2)
    assert subscriber.got[0] == subscriber.got[1] == (TO, EVENT)


def test_the_broker_reports_each_delivery() -> None:
    subscriber, delivered = Subscriber({}), threading.Event()
    broker = Broker(subscriber, workers=2, delivered=delivered.set)
    broker.start([Trigger("t", lambda event: True, TO, QUICK)])
    broker.accept(EVENT)
    assert delivered.wait(10)
    assert subscriber.count(TO) == 1
    broker.stop()


def test_a_missing_answer_is_retried(running: Running) -> None:
    broker, subscriber = running([ConnectionRefusedError(), ACCEPTED])
    broker.accept(EVENT)
    until(lambda: subscriber.count(TO), lambda n: n == 2)


@pytest.mark.parametrize("status", [400, 401, 403, 410, 413, 415, 422])
def test_any_other_4xx_is_final_and_sent_to_the_dead_letter_sink_at_once(running: Running, status: int) -> None:
    broker, subscriber = running([Answer(status, {}, b"no")])
    broker.accept(EVENT)
    until(lambda: subscriber.count(DEAD), lambda n: n == 1)
    assert subscriber.count(TO) == 1
    letter = subscriber.got[-1][1]
    assert letter.body == EVENT.body
    assert letter.attributes["id"] == "1"
    assert letter.attributes["knativeerrorcode"] == str(status)
    assert letter.attributes["knativeerrordest"] == TO


def test_an_event_goes_to_the_dead_letter_sink_after_its_retries(running: Running) -> None:
    broker, subscriber = running([Answer(503, {}, b"")])
    broker.accept(EVENT)
    until(lambda: subscriber.count(DEAD), lambda n: n == 1)
    assert subscriber.count(TO) == 1 + QUICK.retries


def test_a_dead_letter_that_the_sink_refuses_is_dropped(running: Running) -> None:
    broker, subscriber = running([Answer(400, {}, b"")])
    subscriber.script[DEAD] = [Answer(400, {}, b"")]
    broker.accept(EVENT)
    broker.accept(Message({**EVENT.headers, "ce-id": "2"}, b""))
    until(lambda: subscriber.count(DEAD), lambda n: n == 2)
    until(lambda: broker._queued, lambda queued: queued == 0)
    assert subscriber.count(DEAD) == 2


def test_a_failed_event_is_dropped_without_a_sink(running: Running) -> None:
    broker, subscriber = running([Answer(400, {}, b""), ACCEPTED], DeliverySpec())
    broker.accept(EVENT)
    broker.accept(EVENT)
    until(lambda: subscriber.count(TO), lambda n: n == 2)
    assert subscriber.count(DEAD) == 0


def test_a_success_with_a_body_is_retried_as_a_failure(running: Running) -> None:
    broker, subscriber = running([Answer(200, {}, b"OK"), ACCEPTED])
    broker.accept(EVENT)
    until(lambda: subscriber.count(TO), lambda n: n == 2)


def test_an_event_that_no_trigger_selects_is_not_delivered(running: Running) -> None:
    broker, subscriber = running([ACCEPTED])
    assert broker.accept(Message({**EVENT.headers, "ce-type": "other"}, b""))
    broker.accept(EVENT)
    until(lambda: subscriber.count(TO), lambda n: n == 1)


def test_an_event_that_waits_for_its_retry_blocks_no_other(running: Running) -> None:
    broker, subscriber = running([*[Answer(503, {}, b"")] * 5, ACCEPTED], DeliverySpec(retries=1, delay=3600))
    for _ in range(6):
        broker.accept(EVENT)
    until(lambda: subscriber.count(TO), lambda n: n == 6)


def test_a_full_broker_answers_503(running: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(brokers, "MAX_QUEUED", 3000)
    broker, subscriber = running([Answer(503, {}, b"")], DeliverySpec(retries=1, delay=3600))
    ingress = Client(broker.app)
    assert ingress.post("/", headers=dict(EVENT.headers), data=EVENT.body).status_code == 202
    until(lambda: subscriber.count(TO), lambda n: n == 1)
    until(lambda: len(broker._queue), lambda queued: queued == 1)
    assert ingress.post("/", headers=dict(EVENT.headers), data=EVENT.body).status_code == 503


def test_the_ingress_accepts_only_complete_events(running: Running) -> None:
    broker, _ = running([ACCEPTED])
    ingress = Client(broker.app)
    assert ingress.get("/").status_code == 405
    for missing in EVENT.headers:
        headers = {name: value for name, value in EVENT.headers.items() if name != missing}
        assert ingress.post("/", headers=headers, data=b"{}").status_code == 400
    assert ingress.post("/", headers=dict(EVENT.headers), data=bytes(brokers.MAX_EVENT + 1)).status_code == 413
    answer = ingress.post("/", headers=dict(EVENT.headers), data=b"{}")
    assert (answer.status_code, answer.data) == (202, b"")
