"""How many run at a time, who comes next, and what frees a slot."""

import pytest
from support.world import World

from functions.cluster.ports import Rejected
from functions.store.ports import AgreementInUse
from functions.workflow.decision import Verdict
from functions.workflow.model import Phase, Stage, WorkflowId
from functions.workflow.observation import DeleteRequested, StopRequested


def test_no_more_run_than_the_environment_allows_and_the_oldest_comes_next() -> None:
    world = World(max_jobs=2)
    ids = [world.submit() for _ in range(5)]
    assert [world.state(w).phase for w in ids] == [Phase.CONFIGURE] * 2 + [Phase.QUEUED] * 3
    world.run(ids[0])
    assert [world.state(w).phase for w in ids[2:]] == [Phase.CONFIGURE, Phase.QUEUED, Phase.QUEUED]
    for w in ids[1:]:
        world.run(w)
    assert all(world.state(w).finished for w in ids)


def test_a_new_submission_does_not_overtake_the_queue() -> None:
    world = World(max_jobs=1)
    first, second = world.submit(), world.submit()
    world.end_job(first)
    world.deliver()
    third = world.submit()
    world.run(first)
    assert (world.state(second).phase, world.state(third).phase) == (Phase.CONFIGURE, Phase.QUEUED)


def test_an_agreement_has_one_live_workflow() -> None:
    world = World()
    first = world.submit(agreement="0xabc")
    with pytest.raises(AgreementInUse):
        world.submit(agreement="0xabc")
    world.run(first)
    assert world.submit(agreement="0xabc")


def test_a_slot_that_a_refused_job_frees_goes_to_the_oldest_in_the_queue() -> None:
    world = World(max_jobs=1)
    first, second = world.submit(), world.submit()
    for _ in range(2):
        assert world.state(second).phase is Phase.QUEUED
        if world.state(first).phase is Phase.ALGORITHM:
            world.cluster.fail_next("create", Rejected("Invalid", "no", final=True))
        world.end_job(first)
        world.deliver()
    assert world.state(first).finished
    assert [(ref.workflow, ref.stage) for ref in world.cluster.running()] == [(second, Stage.CONFIGURE)]


def test_a_slot_that_a_workflow_frees_at_its_end_starts_the_next_at_once() -> None:
    world = World(max_jobs=1)
    first, second = world.submit(), world.submit()
    world.run(first)
    assert [(ref.workflow, ref.stage) for ref in world.cluster.running()] == [(second, Stage.CONFIGURE)]


def test_an_environment_that_is_gone_has_no_slot() -> None:
    world = World(max_jobs=1)
    first, second = world.submit(), world.submit()
    del world.app.environments["ocean-compute"]  # type: ignore[attr-defined]
    world.app.transitions.apply(first, DeleteRequested(), "test")
    world.tick()
    assert world.state(first).finished
    assert world.state(second).phase is Phase.QUEUED


def test_an_observation_of_an_unknown_workflow_or_of_nothing_changes_nothing() -> None:
    world = World()
    w = world.submit()
    before = world.app.store.history(w)
    assert world.app.transitions.apply(WorkflowId("0" * 32), StopRequested(), "test") is Verdict.UNKNOWN
    assert world.app.transitions.apply_found(w, lambda _tx, _current: None, "test") is Verdict.UNCHANGED
    assert world.app.store.history(w) == before
