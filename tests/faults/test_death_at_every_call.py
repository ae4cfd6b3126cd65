"""F13: a handler dies before and after each of its calls, and the end is the same as if it had not.

For each handler the calls to record, cluster and results are counted; then for each of them a process dies there, once
before and once after it. What follows is either a redelivery of the same event or a sweep. The end state is
compared with the undisturbed one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from itertools import count
from typing import Any

import pytest
from support.api import API, KEY, OWNER, function
from support.trial import EXPIRY, Trial, W, announced, check_every_death, reach
from support.world import DOCUMENT, ENVIRONMENT, STAGES, TASK, record
from werkzeug.test import Client

from functions.advance import notifications
from functions.cluster.ports import Rejected
from functions.ethereum import sign
from functions.store.ports import AgreementInUse
from functions.workflow.model import Stage


def submit(world: Trial) -> Callable[[], Any]:
    def handler() -> None:
        with suppress(AgreementInUse):
            world.app.transitions.submit(announced(record(world.app, 1)), "test")

    return handler


def stage_over(stage: Stage, exit_code: int = 0, waiting: bool = False) -> Callable[[Trial], Callable[[], Any]]:
    """The event that ends `stage`; with another workflow `waiting` for the slot."""

    def prepare(world: Trial) -> Callable[[], Any]:
        submit(world)()
        if waiting:
            world.app.transitions.submit(record(world.app, 2), "test")
        reach(world, stage)
        world.end_job(W, exit_code, reason="" if exit_code == 0 else "Error")
        event = world.events[0]
        world.events.clear()
        return lambda: world.receive(*event)

    return prepare


def lost(stage: Stage) -> Callable[[Trial], Callable[[], Any]]:
    """The event which says that somebody has deleted the Job."""

    def prepare(world: Trial) -> Callable[[], Any]:
        submit(world)()
        reach(world, stage)
        world.cluster.vanish(world.job(W))
        event = world.events.pop()
        return lambda: world.receive(*event)

    return prepare


def refused_for_now(world: Trial) -> Callable[[], Any]:
    """The event that ends configure, while the quota has no room for the algorithm."""
    handler = stage_over(Stage.CONFIGURE)(world)
    world.cluster.fail_next("create", Rejected("QuotaExceeded", "full", final=False))
    return handler


def over_http(method: str) -> Callable[[Trial], Callable[[], Any]]:
    """Start, stop or delete as a Provider asks for it: with a new nonce each time, and the same idempotency key."""

    def prepare(world: Trial) -> Callable[[], Any]:
        if method != "POST":
            world.app.transitions.submit(announced(record(world.app, 1)), "test")
        client, nonces = Client(function("submit", world.app)), count(1_700_000_000)

        def handler() -> None:
            nonce = next(nonces)
            if method == "POST":
                body = {"workflow": DOCUMENT, "agreementId": "a", "owner": OWNER, "environment": ENVIRONMENT}
                signature = sign(KEY, f"{OWNER}{nonce}")
            else:
                body = {"jobId": W, "owner": "0xowner"}
                signature = sign(KEY, f"0xowner{W}{nonce}")
            asked = {**body, "nonce": nonce, "providerSignature": signature}
            answered = client.open(f"{API}/compute", method=method, json=asked, headers={"Idempotency-Key": "k"})
            assert answered.status_code == 200, answered.text

        return handler

    return prepare


def dead_letter(world: Trial) -> Callable[[], Any]:
    """The broker gives an event up."""
    client = Client(function("advance", world.app))
    headers = {"ce-specversion": "1.0", "ce-type": "t", "ce-source": "s", "ce-id": "lost", "knativeerrorcode": "500"}

    def handler() -> None:
        assert client.post("/dead-letters", headers=headers).status_code == 204

    return handler


def expiry(world: Trial) -> Callable[[], Any]:
    """A sweep after the results' time."""
    submit(world)()
    world.run(W)
    world.clock.sleep(EXPIRY)
    return lambda: world.tick(0)


def request(what: str, stage: Stage | None) -> Callable[[Trial], Callable[[], Any]]:
    """A stop or a delete while `stage` runs; None: after the end."""

    def prepare(world: Trial) -> Callable[[], Any]:
        submit(world)()
        reach(world, stage)
        return lambda: getattr(world, what)(W)

    return prepare


def with_executor(number: int, then: Callable[[Trial], Callable[[], Any]]) -> Callable[[Trial], Callable[[], Any]]:
    """A task whose executor of that number runs, and what happens then."""

    def prepare(world: Trial) -> Callable[[], Any]:
        world.app.transitions.submit(record(world.app, 1, document=TASK), "test")
        while (state := world.state(W)).stage is not Stage.ALGORITHM or state.executor < number:
            world.end_job(W)
            world.deliver()
        world.events.clear()
        return then(world)

    return prepare


def executor_over(exit_code: int) -> Callable[[Trial], Callable[[], Any]]:
    """The event that ends the executor."""

    def prepare(world: Trial) -> Callable[[], Any]:
        world.end_job(W, exit_code, reason="" if exit_code == 0 else "Error")
        event = world.events.pop(0)
        return lambda: world.receive(*event)

    return prepare


def tick(world: Trial) -> Callable[[], Any]:
    """A sweep that finds an ended Job, a queued workflow behind it, and an open intent."""
    submit(world)()
    world.app.transitions.submit(record(world.app, 2), "test")
    world.end_job(W)
    world.events.clear()
    world.clock.sleep(60)
    return lambda: world.tick(0)


HANDLERS = {
    "submit": submit,
    **{f"{stage} succeeded": stage_over(stage) for stage in STAGES},
    **{f"{stage} failed": stage_over(stage, 3) for stage in STAGES},
    **{f"{stage} lost": lost(stage) for stage in STAGES},
    "publish succeeded, another waits": stage_over(Stage.PUBLISH, waiting=True),
    **{f"stop in {stage}": request("stop", stage) for stage in STAGES},
    **{f"delete in {stage}": request("delete", stage) for stage in STAGES},
    "delete after the end": request("delete", None),
    **{f"{method} /compute": over_http(method) for method in ("POST", "PUT", "DELETE")},
    "a quota is full": refused_for_now,
    "dead letter": dead_letter,
    "sweep": tick,
    "executor 1 succeeded": with_executor(0, executor_over(0)),
    "executor 1 failed and is forgiven": with_executor(0, executor_over(3)),
    "executor 2 failed": with_executor(1, executor_over(3)),
    "last executor failed and is forgiven": with_executor(2, executor_over(3)),
    "stop in executor 2": with_executor(1, lambda world: lambda: world.stop(W)),
    "expiry": expiry,
}


@pytest.mark.parametrize("redelivered", [True, False], ids=["redelivered", "swept"])
@pytest.mark.parametrize("name", list(HANDLERS))
def test_the_end_is_the_same_wherever_the_process_died(
    name: str, redelivered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "deliver", lambda *_: True)
    # Whoever asks over HTTP and gets no answer asks again; the cluster's events may be lost.
    again = redelivered or name.startswith(("submit", "stop", "delete", "P", "D", "dead"))
    calls = check_every_death(HANDLERS[name], again, Trial)
    print(f"\n{name}: died before and after each of its {calls} calls")
