"""What a submission returns and records, which workflows it starts, and requests that come twice."""

from __future__ import annotations

import pytest
from support.world import ENVIRONMENT, World, environment, record

from functions.cluster.ports import ClusterUnavailable
from functions.store.transaction_port import Transaction
from functions.workflow.decision import Verdict
from functions.workflow.model import Phase, Stage, WorkflowId
from functions.workflow.observation import StopRequested


def test_a_submission_is_returned_as_it_is_recorded() -> None:
    world = World(max_jobs=1)
    for number, phase in ((1, Phase.CONFIGURE), (2, Phase.QUEUED)):
        returned = world.app.transitions.submit(record(world.app, number), "test").workflow
        recorded = world.state(returned.id)
        assert (returned.phase, returned.salt) == (phase, recorded.salt)
        assert recorded.phase is phase
        assert len(recorded.salt) >= 32


def test_added_slots_go_to_queued_workflows_before_a_new_one() -> None:
    world = World(max_jobs=1)
    running, first, second = (world.submit() for _ in range(3))
    world.app.environments = {ENVIRONMENT: environment(max_jobs=2)}
    third = world.submit()
    phases = {w: world.state(w).phase for w in (running, first, second, third)}
    assert phases == {
        running: Phase.CONFIGURE,
        first: Phase.CONFIGURE,
        second: Phase.QUEUED,
        third: Phase.QUEUED,
    }
    assert {ref.workflow for ref in world.cluster.running()} == {running, first}
    world.app.environments = {ENVIRONMENT: environment(max_jobs=5)}
    fourth = world.submit()
    assert {world.state(w).phase for w in (second, third, fourth)} == {Phase.CONFIGURE}


def test_a_submission_whose_transaction_fails_leaves_nothing() -> None:
    world = World()

    def refuse(_: Transaction) -> None:
        raise LookupError("the idempotency key is in use")

    with pytest.raises(LookupError, match="in use"):
        world.app.transitions.submit(record(world.app, 1), "test", refuse)
    assert world.app.store.state(WorkflowId(f"{1:032x}")) is None
    assert world.cluster.present() == []


def test_a_repeated_request_changes_no_record_and_writes_no_line() -> None:
    world = World()
    w = world.with_running_algorithm()
    assert world.stop(w) is Verdict.APPLIED
    before, lines = world.state(w), list(world.lines(w))
    assert world.app.transitions.apply(w, StopRequested(), "test") is not Verdict.APPLIED
    assert (world.state(w), list(world.lines(w))) == (before, lines)


def test_a_repeated_request_carries_out_what_the_first_could_not() -> None:
    world = World()
    w = world.with_running_algorithm()
    world.cluster.fail_next("delete", ClusterUnavailable("down"))
    with pytest.raises(ClusterUnavailable):
        world.stop(w)
    assert [ref.stage for ref in world.cluster.running()] == [Stage.ALGORITHM]
    world.clock.sleep(5)
    assert world.stop(w) is Verdict.DUPLICATE
    assert [ref.stage for ref in world.cluster.running()] != [Stage.ALGORITHM]


def test_an_effect_is_given_up_after_its_last_try_and_the_workflow_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("functions.engine.transitions.MAX_TRIES", 3)
    world = World(queue_seconds=10**6)
    world.cluster.fail_next("create", ClusterUnavailable("down"), times=1000)
    w = world.submit()  # the first try
    for _ in range(2):
        world.tick(3600)
    assert world.state(w).ending is None
    world.tick(3600)
    ending = world.state(w).ending
    assert (ending and ending.reason) == "ClusterUnavailable"
