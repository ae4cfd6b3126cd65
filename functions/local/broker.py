"""The broker: receives CloudEvents over HTTP and delivers them to the Triggers' subscribers with Knative's retry rules.

It keeps events in memory only, as Knative's default broker does. If it dies, the sweep finds what the lost events
announced.
"""

from __future__ import annotations

import base64
import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from werkzeug.wrappers import Request, Response

from functions.local.triggers import DeliverySpec, Trigger, retryable
from functions.log import about

logger = logging.getLogger(__name__)

MAX_QUEUED = 64 << 20  # bytes of all deliveries; above it the ingress answers 503
STRUCTURED = "application/cloudevents+json"
MAX_EVENT = 1 << 20  # bytes of one event; above it the ingress answers 413
# Prepares the type at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
_EVENT = msgspec.json.Decoder(dict[str, Any])


class Message(Struct, frozen=True):
    """A CloudEvent in binary mode. Header names are lower case."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def attributes(self) -> dict[str, str]:
        return {name[3:]: value for name, value in self.headers.items() if name.startswith("ce-")}


class Answer(Struct, frozen=True):
    """A subscriber's HTTP response."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Send(Protocol):
    def __call__(self, url: str, message: Message) -> Answer:
        """POST the message once. Raises OSError if no answer comes."""
        ...


class _Delivery(Struct, frozen=True):
    """One message on its way to one subscriber."""

    message: Message
    url: str
    trigger: str
    spec: DeliverySpec
    failures: int = 0

    @property
    def size(self) -> int:
        """Approximate memory use in bytes."""
        return 2048 + len(self.message.body)


class Broker:
    """Delivers with `workers` threads between start() and stop(). Calls `delivered` after each attempt."""

    def __init__(
        self,
        send: Send,
        *,
        workers: int = 8,
        clock: Callable[[], float] = time.monotonic,
        delivered: Callable[[], None] = lambda: None,
    ) -> None:
        self._send = send
        self._clock = clock
        self._delivered = delivered
        self._triggers: tuple[Trigger, ...] = ()
        self._queue: list[tuple[float, int, _Delivery]] = []  # a heap: due time, sequence number, delivery
        self._numbers = itertools.count()
        self._queued = 0  # bytes, with those under way
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [threading.Thread(target=self._work, name=f"broker-{n}", daemon=True) for n in range(workers)]

    def start(self, triggers: Iterable[Trigger]) -> None:
        self._triggers = tuple(triggers)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Start no further delivery, and wait up to 5 s for each that is under way."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)

    def accept(self, message: Message) -> bool:
        """Queue a message for every Trigger that selects it. Returns False if the queue is full."""
        attributes = message.attributes
        deliveries = [
            _Delivery(message, trigger.subscriber, trigger.name, trigger.delivery)
            for trigger in self._triggers
            if trigger.selects(attributes)
        ]
        with self._changed:
            if self._queued + sum(delivery.size for delivery in deliveries) > MAX_QUEUED:
                return False
            for delivery in deliveries:
                self._enqueue(delivery, self._clock())
        return True

    def app(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """The ingress, a WSGI app."""
        return self._ingress(Request(environ))(environ, start_response)

    def _ingress(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(status=405)
        body = request.stream.read(MAX_EVENT + 1)
        if len(body) > MAX_EVENT:
            return Response(status=413)
        headers = {name.lower(): value for name, value in request.headers}
        kept = {name: value for name, value in headers.items() if name.startswith("ce-") or name == "content-type"}
        if request.mimetype == STRUCTURED:
            kept, body = _in_binary_mode(body)
        if any(not kept.get(f"ce-{name}") for name in ("id", "type", "source", "specversion")):
            return Response(status=400)
        return Response(status=202 if self.accept(Message(kept, body)) else 503)

    def _enqueue(self, delivery: _Delivery, due: float) -> None:
        self._queued += delivery.size
        heapq.heappush(self._queue, (due, next(self._numbers), delivery))
        self._changed.notify()

    def _work(self) -> None:
        while (delivery := self._next()) is not None:
            self._deliver(delivery)
            with self._changed:
                self._queued -= delivery.size
            self._delivered()

    def _next(self) -> _Delivery | None:
        """Wait for the next delivery that is due; None once the broker stops."""
        with self._changed:
            while not self._stopping:
                wait = self._queue[0][0] - self._clock() if self._queue else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._queue)[2]
                self._changed.wait(wait)
        return None

    def _deliver(self, delivery: _Delivery) -> None:
        try:
            answer = self._send(delivery.url, delivery.message)
            status, text = _effective_status(answer), answer.body
        except OSError:
            status, text = 502, b""
        if status < 300:
            return
        failures = delivery.failures + 1
        if retryable(status) and failures <= delivery.spec.retries:
            due = self._clock() + delivery.spec.pause(failures)
            with self._changed:
                self._enqueue(replace(delivery, failures=failures), due)
            return
        self._give_up(delivery, status, text)

    def _give_up(self, delivery: _Delivery, status: int, text: bytes) -> None:
        sink = delivery.spec.dead_letter_sink
        event = delivery.message.attributes.get("id")
        logger.error(
            "an event could not be delivered",
            extra=about(trigger=delivery.trigger, event=event, status=status, kept=bool(sink)),
        )
        if sink is None:
            return
        headers = {
            **delivery.message.headers,
            "ce-knativeerrordest": delivery.url,
            "ce-knativeerrorcode": str(status),
            "ce-knativeerrordata": base64.b64encode(text).decode()[:1024],
        }
        # A dead letter is retried like any event, but it does not become a dead letter again.
        spec = replace(delivery.spec, dead_letter_sink=None)
        letter = _Delivery(Message(headers, delivery.message.body), sink, delivery.trigger, spec)
        with self._changed:
            self._enqueue(letter, self._clock())


def _in_binary_mode(body: bytes) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of an event that came in structured mode; no headers if it is none."""
    try:
        event = _EVENT.decode(body)
    except (ValueError, RecursionError):
        return {}, b""
    data, kind = event.pop("data", None), str(event.pop("datacontenttype", "application/json"))
    attributes = {f"ce-{name}": value for name, value in event.items() if isinstance(value, str)}
    return {**attributes, "content-type": kind}, msgspec.json.encode(data)


def _effective_status(answer: Answer) -> int:
    """The status that decides about a retry.

    A success with a body counts as 502. Knative takes such a body for a reply event and fails if it is not one; our
    functions never reply with events.
    """
    return 502 if answer.status < 300 and answer.body else answer.status
