"""F13 while results are held: a handler dies before and after each of its calls, and the end is the same.

What follows a death is the same request or event again, or ticks alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest
from support.api import ADMIN, API, function
from support.review import HOLD_SECONDS, copy_half, held_record, signed_decision
from support.trial import Trial, W, check_every_death, settled
from werkzeug.test import Client

from functions.advance import notifications
from functions.workflow.model import Phase

Handler = Callable[[], Any]


class HeldTrial(Trial):
    """A Trial of a workflow whose results are held, and of the people who decide."""

    def __init__(self) -> None:
        super().__init__()
        self.app.settings = dataclasses.replace(
            self.app.settings,
            quarantine_url="memory:held",
            allowed_admins=(ADMIN["Admin"],),
            notify_hold_urls=("http://127.0.0.1:1/",),
        )
        self.door = Client(function("submit", self.app))

    def until(self, phase: Phase, approvals: int = 1) -> None:
        """Let everything go well until that phase. Nothing is told of what happened last."""
        self.app.transitions.submit(held_record(self.app, 1, approvals), "test")
        while self.state(W).phase is not phase:
            if self.state(W).phase is Phase.HELD:
                self.decide()
            else:
                self.end_job(W)
                self.deliver()
        self.events.clear()

    def half_released(self) -> None:
        """Wait again for a decision, after a release that copied some files and then failed for good."""
        self.until(Phase.RELEASE)
        while self.state(W).phase is Phase.RELEASE:
            self.wait_for_job(W)
            copy_half(self, W)
            self.end_job(W, 62, reason="Error")
            self.deliver()
        assert self.state(W).phase is Phase.HELD

    def decide(self, verdict: str = "release", person: int = 0) -> None:
        held = self.app.store.held(W)
        assert held is not None
        answered = self.door.post(f"{API}/decisions", json=signed_decision(W, held.head, person, verdict))
        # Once it has taken effect it is refused: the person has decided, or nothing waits any more.
        assert answered.status_code in (200, 403, 404, 409), answered.text

    def ask(self, method: str, path: str, body: dict[str, str]) -> None:
        answered = self.door.open(f"{API}{path}", method=method, json=body, headers=ADMIN)
        assert answered.status_code in (200, 404, 409), answered.text


def job_ends(phase: Phase, exit_code: int = 0, reason: str = "") -> Callable[[HeldTrial], Handler]:
    """The event that ends the Job of that phase."""

    def prepare(world: HeldTrial) -> Handler:
        world.until(phase)
        world.end_job(W, exit_code, reason=reason)
        event = world.events.pop(0)
        world.events.clear()
        return lambda: world.receive(*event)

    return prepare


def decision(verdict: str, approvals: int = 1, given: int = 0) -> Callable[[HeldTrial], Handler]:
    """A decision, where `given` persons have released already."""

    def prepare(world: HeldTrial) -> Handler:
        world.until(Phase.HELD, approvals)
        for person in range(given):
            world.decide("release", person)
        return lambda: world.decide(verdict, given)

    return prepare


def after_half_a_release(what: Callable[[HeldTrial], Any]) -> Callable[[HeldTrial], Handler]:
    """A request about results of which a release that failed has copied some."""

    def prepare(world: HeldTrial) -> Handler:
        world.half_released()
        return lambda: what(world)

    return prepare


def asked(what: Callable[[HeldTrial], Any], phase: Phase) -> Callable[[HeldTrial], Handler]:
    """A request in that phase."""

    def prepare(world: HeldTrial) -> Handler:
        world.until(phase)
        return lambda: what(world)

    return prepare


def nobody_decides(world: HeldTrial) -> Handler:
    """The first sweep after the time of a hold."""
    world.until(Phase.HELD)
    world.clock.sleep(HOLD_SECONDS + 60)
    return lambda: world.tick(0)


FREEZE = {"scope": "all", "reason": "audit"}
HANDLERS: dict[str, Callable[[HeldTrial], Handler]] = {
    "publish ends, and the results are held": job_ends(Phase.PUBLISH),
    "release ends": job_ends(Phase.RELEASE),
    "release fails, and may be tried again": job_ends(Phase.RELEASE, 62, "Error"),
    "a decision releases": decision("release"),
    "a decision rejects": decision("reject"),
    "the first of two decisions": decision("release", approvals=2),
    "the second of two decisions": decision("release", approvals=2, given=1),
    "a rejection after a release": decision("reject", approvals=2, given=1),
    "stop while held": asked(lambda world: world.stop(W), Phase.HELD),
    "delete while held": asked(lambda world: world.delete(W), Phase.HELD),
    "stop in release": asked(lambda world: world.stop(W), Phase.RELEASE),
    "delete in release": asked(lambda world: world.delete(W), Phase.RELEASE),
    "the operator rejects": asked(
        lambda world: world.ask("POST", "/decisions", {"jobId": W, "verdict": "reject"}), Phase.HELD
    ),
    "the operator rejects after half a release": after_half_a_release(
        lambda world: world.ask("POST", "/decisions", {"jobId": W, "verdict": "reject"})
    ),
    "stop after half a release": after_half_a_release(lambda world: world.stop(W)),
    "delete after half a release": after_half_a_release(lambda world: world.delete(W)),
    "the time of a hold is over after half a release": after_half_a_release(
        lambda world: world.tick(HOLD_SECONDS + 60)
    ),
    "freeze": asked(lambda world: world.ask("POST", "/freeze", FREEZE), Phase.HELD),
    "revoke": asked(lambda world: world.ask("POST", "/revoke", {"jobId": W}), Phase.FINISHED),
    "the time of a hold is over": nobody_decides,
}
EVENTS = ("publish", "release", "the time")  # events may be lost for good; who asks and gets no answer asks again


@pytest.mark.parametrize("redelivered", [True, False], ids=["redelivered", "swept"])
@pytest.mark.parametrize("name", list(HANDLERS))
def test_the_end_of_a_hold_is_the_same_wherever_the_process_died(
    name: str, redelivered: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifications, "deliver", lambda *_: True)
    calls = check_every_death(HANDLERS[name], redelivered or not name.startswith(EVENTS), HeldTrial)
    print(f"\n{name}: died before and after each of its {calls} calls")


@pytest.mark.parametrize("name", [name for name in HANDLERS if "half a release" in name])
def test_nothing_is_left_of_a_release_that_was_broken_off(name: str) -> None:
    world = HeldTrial()
    handler = HANDLERS[name](world)
    assert world.storage.files
    handler()
    settled(world)
    assert world.state(W).finished
    assert not world.storage.files
