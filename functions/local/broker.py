"""The broker: takes CloudEvents over HTTP and delivers them over HTTP, by the Triggers and with Knative's retry rules.

In memory like Knative's default broker: what it holds is lost with it, and the sweep makes up for that.
"""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from werkzeug.wrappers import Request, Response

from functions.local.triggers import Delivery, Trigger, retryable
from functions.log import about

logger = logging.getLogger(__name__)

MOST_HELD = 64 << 20  # bytes in all deliveries; beyond them events are refused with 503
MAX_EVENT = 1 << 20


@dataclass(frozen=True)
class Message:
    """A CloudEvent in binary mode: lower-case header names, body."""

    headers: Mapping[str, str]
    body: bytes

    @property
    def attributes(self) -> dict[str, str]:
        return {name[3:]: value for name, value in self.headers.items() if name.startswith("ce-")}


@dataclass(frozen=True)
class Answer:
    """What a subscriber said."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class Send(Protocol):
    def __call__(self, url: str, message: Message) -> Answer:
        """Deliver once. Raises OSError when there is no answer."""
        ...


@dataclass(frozen=True)
class _Parcel:
    """One message for one subscriber."""

    message: Message
    to: str
    trigger: str
    delivery: Delivery
    tries: int = 0

    @property
    def size(self) -> int:
        """About what it takes in memory, in bytes."""
        return 2048 + len(self.message.body)


class Broker:
    """Delivers with `workers` threads between start() and stop(); calls `delivered` after each try to deliver."""

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
        self._due: list[tuple[float, int, _Parcel]] = []
        self._numbers = itertools.count()
        self._held = 0  # bytes
        self._changed = threading.Condition()
        self._stopping = False
        self._threads = [threading.Thread(target=self._work, name=f"broker-{n}", daemon=True) for n in range(workers)]

    def start(self, triggers: Iterable[Trigger]) -> None:
        self._triggers = tuple(triggers)
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Deliver no more; what is under way is finished."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(timeout=5)

    def accept(self, message: Message) -> bool:
        """Take a message for every Trigger that it passes. False: the broker is full."""
        attributes = message.attributes
        parcels = [
            _Parcel(message, trigger.subscriber, trigger.name, trigger.delivery)
            for trigger in self._triggers
            if trigger.passes(attributes)
        ]
        with self._changed:
            if self._held + sum(parcel.size for parcel in parcels) > MOST_HELD:
                return False
            for parcel in parcels:
                self._hold(parcel, self._clock())
        return True

    def app(self, environ: Any, start_response: Any) -> Iterable[bytes]:
        """The ingress, as WSGI."""
        return self._ingress(Request(environ))(environ, start_response)

    def _ingress(self, request: Request) -> Response:
        if request.method != "POST":
            return Response(status=405)
        body = request.stream.read(MAX_EVENT + 1)
        if len(body) > MAX_EVENT:
            return Response(status=413)
        headers = {name.lower(): value for name, value in request.headers}
        kept = {name: value for name, value in headers.items() if name.startswith("ce-") or name == "content-type"}
        if any(not kept.get(f"ce-{name}") for name in ("id", "type", "source", "specversion")):
            return Response(status=400)
        return Response(status=202 if self.accept(Message(kept, body)) else 503)

    def _hold(self, parcel: _Parcel, due: float) -> None:
        self._held += parcel.size
        heapq.heappush(self._due, (due, next(self._numbers), parcel))
        self._changed.notify()

    def _work(self) -> None:
        while (parcel := self._next()) is not None:
            self._deliver(parcel)
            with self._changed:
                self._held -= parcel.size
            self._delivered()

    def _next(self) -> _Parcel | None:
        """The next parcel that is due; None at the end."""
        with self._changed:
            while not self._stopping:
                wait = self._due[0][0] - self._clock() if self._due else None
                if wait is not None and wait <= 0:
                    return heapq.heappop(self._due)[2]
                self._changed.wait(wait)
        return None

    def _deliver(self, parcel: _Parcel) -> None:
        try:
            answer = self._send(parcel.to, parcel.message)
            status, text = _judge(answer), answer.body
        except OSError:
            answer, status, text = None, 502, b""
        if status < 300:
            if answer is not None and answer.body:
                self.accept(_reply(answer))
            return
        tries = parcel.tries + 1
        if retryable(status) and tries <= parcel.delivery.retries:
            with self._changed:
                self._hold(replace(parcel, tries=tries), self._clock() + parcel.delivery.pause(tries))
            return
        self._give_up(parcel, status, text)

    def _give_up(self, parcel: _Parcel, status: int, text: bytes) -> None:
        sink = parcel.delivery.dead_letters
        logger.error(
            "not delivered",
            extra=about(
                trigger=parcel.trigger, event=parcel.message.attributes.get("id"), status=status, kept=bool(sink)
            ),
        )
        if sink is None:
            return
        headers = {
            **parcel.message.headers,
            "ce-knativeerrordest": parcel.to,
            "ce-knativeerrorcode": str(status),
            "ce-knativeerrordata": text[:1024].hex(),
        }
        # The dead letter is delivered as stubbornly, but never becomes one itself.
        last = replace(parcel.delivery, dead_letters=None)
        with self._changed:
            self._hold(_Parcel(Message(headers, parcel.message.body), sink, parcel.trigger, last), self._clock())


def _judge(answer: Answer) -> int:
    """The status that counts: to Knative's filter a body that is not a CloudEvent makes a success a failure."""
    if answer.status < 300 and answer.body and "ce-specversion" not in answer.headers:
        return 502
    return answer.status


def _reply(answer: Answer) -> Message:
    """A CloudEvent in an answer is a new event."""
    kept = {name: value for name, value in answer.headers.items() if name.startswith("ce-") or name == "content-type"}
    return Message(kept, answer.body)
