"""F13: a handler dies before and after each of its calls, and the end is the same as if it had not.

For each handler the calls to record, cluster and results are counted; then for each of them a process dies there, once
before and once after it. What follows is either a redelivery of the same event or a sweep. The end state is
compared with the undisturbed one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from support.death import Died, Fate, Mortal, MortalStore
from support.world import World, record

from functions.store.ports import AgreementInUse
from functions.workflow.model import Stage, WorkflowId

W = WorkflowId("1".zfill(32))


class Trial(World):
    """A World in which one handler is watched, or killed."""

    def __init__(self) -> None:
        super().__init__(filter_image="operator/filter", max_jobs=1)
        self.fate = Fate()
        self.immortal = dict(self.parts.__dict__)

    def dying(self, at: int, after: bool, handler: Callable[[], Any]) -> list[str]:
        """Run `handler` in a process that dies at its `at`-th call; the calls it made."""
        self.fate = fate = Fate(at, after)
        parts = self.parts.__dict__
        parts.pop("transitions", None)
        parts["store"] = MortalStore(self.immortal["store"], fate, "store")
        parts["cluster"] = Mortal(self.immortal["cluster"], fate, "cluster")
        parts["storage"] = Mortal(self.immortal["storage"], fate, "storage")
        with suppress(Died):
            handler()
        parts.pop("transitions", None)
        parts.update({name: self.immortal[name] for name in ("store", "cluster", "storage")})
        return fate.calls


def submit(world: Trial) -> Callable[[], Any]:
    def handler() -> None:
        with suppress(AgreementInUse):
            world.parts.transitions.submit(record(world.parts, 1), "test")

    return handler


def stage_done(stage: Stage) -> Callable[[Trial], Callable[[], Any]]:
    """The event that ends `stage`."""

    def prepare(world: Trial) -> Callable[[], Any]:
        submit(world)()
        while world.state(W).stage is not stage:
            world.end_job(W)
            world.deliver()
        world.events.clear()
        world.end_job(W)
        event = world.events[0]
        world.events.clear()
        return lambda: world.receive(*event)

    return prepare


def request(what: str, stage: Stage | None) -> Callable[[Trial], Callable[[], Any]]:
    """A stop or a delete while `stage` runs; None: after the end."""

    def prepare(world: Trial) -> Callable[[], Any]:
        submit(world)()
        while world.state(W).stage is not stage:
            world.end_job(W)
            world.deliver()
        world.events.clear()
        return lambda: getattr(world, what)(W)

    return prepare


def tick(world: Trial) -> Callable[[], Any]:
    """A sweep that finds an ended Job, a queued workflow behind it, and an open intent."""
    submit(world)()
    world.parts.transitions.submit(record(world.parts, 2), "test")
    world.end_job(W)
    world.events.clear()
    world.clock.sleep(60)
    return lambda: world.tick(0)


HANDLERS = {
    "submit": submit,
    **{f"{stage} succeeded": stage_done(stage) for stage in Stage},
    **{f"stop in {stage}": request("stop", stage) for stage in Stage},
    **{f"delete in {stage}": request("delete", stage) for stage in Stage},
    "delete after the end": request("delete", None),
    "sweep": tick,
}


def settled(world: Trial) -> Any:
    """The end that comes when nothing else goes wrong, without what may differ: times, and what caused which line."""
    for _ in range(60):
        for ref in world.cluster.running():
            world.end_job(ref.workflow)
        world.deliver()
        world.tick()
    found = [world.parts.store.get(WorkflowId(str(n).zfill(32))) for n in (1, 2)]
    return [
        None
        if r is None
        else (
            r.workflow.phase,
            r.workflow.status,
            r.workflow.stop,
            r.workflow.removed,
            r.workflow.ending,
            r.manifest,
            [(a.stage, a.attempt, a.end and a.end.outcome) for a in world.parts.store.attempts(r.workflow.id)],
            list(world.lines(r.workflow.id)),
        )
        for r in found
    ] + [sorted(world.cluster.created.items()), world.cluster.present()]


@pytest.mark.parametrize("redelivered", [True, False], ids=["redelivered", "swept"])
@pytest.mark.parametrize("name", list(HANDLERS))
def test_the_end_is_the_same_wherever_the_process_died(name: str, redelivered: bool) -> None:
    undisturbed = Trial()
    handler = HANDLERS[name](undisturbed)
    calls = undisturbed.dying(0, False, handler)
    expected = settled(undisturbed)
    # Whoever asks over HTTP and gets no answer asks again; the cluster's events may be lost.
    again = redelivered or name.startswith(("submit", "stop", "delete"))
    assert len(calls) >= 3
    for at in range(1, len(calls) + 1):
        for after in (False, True):
            world = Trial()
            handler = HANDLERS[name](world)
            world.dying(at, after, handler)
            if again:
                handler()
            where = f"died {'after' if after else 'before'} call {at} of {len(calls)}: {calls[at - 1]}"
            assert settled(world) == expected, where
