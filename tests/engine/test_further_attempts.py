"""Further attempts of configure and publish: after a pause, in the same slot, never beside one that may still run."""

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import replace
from support.world import World, record

from functions.workflow.codes import Code
from functions.workflow.decision import Verdict
from functions.workflow.model import Phase, Record, Stage, Stop, WorkflowId


def failed(world: World, stage: Stage) -> WorkflowId:
    """A workflow whose `stage` has failed once, and may be tried again after a pause."""
    w = world.reached(stage)
    world.end_job(w, 3, reason="Error")
    world.deliver()
    return w


def test_results_outlast_a_storage_that_is_away_for_twenty_minutes() -> None:
    world = World()
    w = world.reached(Stage.PUBLISH)
    back = world.clock() + timedelta(minutes=20)
    while world.clock() < back:
        if world.cluster.running():
            world.end_job(w, Code.UPLOAD_FAILED, reason="ResultUploadFailed")
            world.events.clear()
        world.tick()
    assert world.state(w).phase is Phase.PUBLISH
    world.run(w)
    found = world.app.store.get(w)
    assert found is not None
    assert (found.workflow.status, [f.path for f in found.manifest.files]) == (Code.FINISHED, ["outputs/a.csv"])


@pytest.mark.parametrize("stage", [Stage.CONFIGURE, Stage.PUBLISH])
def test_a_further_attempt_has_its_pause_whatever_comes_meanwhile_and_keeps_its_slot(stage: Stage) -> None:
    world = World(max_jobs=1)
    w = world.reached(stage)
    queued = world.submit()
    world.end_job(w, 3, reason="Error")
    failed = world.events[-1]
    world.deliver()
    for _ in range(3):
        world.receive(*failed)
        world.tick(3)
        world.app.transitions.carry_out(w, "test")
    assert (world.state(w).attempt, world.state(w).job_uid) == (2, None)
    assert world.cluster.running() == []
    assert world.state(queued).phase is Phase.QUEUED
    world.tick(3)
    assert [(ref.stage, ref.attempt) for ref in world.cluster.running()] == [(stage, 2)]


@pytest.mark.parametrize("stage", [Stage.CONFIGURE, Stage.PUBLISH])
def test_no_further_attempt_starts_while_the_job_still_exists(stage: Stage) -> None:
    """Its Pod may still write: on a node that answers nobody, for one."""
    world = World(lingering=True)
    w = world.reached(stage)
    world.cluster.stick(world.job(w), "ImagePullBackOff", world.clock() - timedelta(minutes=5))
    for _ in range(20):
        world.tick()
    assert f"{w}-{stage}-2" not in world.cluster.created
    assert world.state(w).phase is (Phase.PUBLISH if stage is Stage.CONFIGURE else Phase.FINISHED)


def test_a_stop_in_the_pause_of_configure_ends_it_without_another_attempt() -> None:
    world = World()
    w = failed(world, Stage.CONFIGURE)
    assert world.stop(w) is Verdict.APPLIED
    assert [ref.stage for ref in world.cluster.running()] == [Stage.PUBLISH]
    world.run(w)
    assert (world.state(w).status, world.state(w).stop) == (70, Stop.REQUESTED)
    assert f"{w}-configure-2" not in world.cluster.created


def test_a_stop_in_the_pause_of_publish_lets_publish_go_on_and_a_delete_ends_it() -> None:
    world = World()
    w = failed(world, Stage.PUBLISH)
    assert world.stop(w) is Verdict.APPLIED
    assert world.state(w).phase is Phase.PUBLISH
    world.delete(w)
    assert world.state(w).finished
    world.tick()
    assert f"{w}-publish-2" not in world.cluster.created


def test_the_status_of_a_workflow_object_does_not_wait_for_a_pause() -> None:
    world = World()
    new = record(world.app, 1)
    submission = replace(new.submission, origin="ocean-compute/w")
    w = new.workflow.id
    world.app.transitions.submit(Record(replace(new.workflow, reported=True), submission), "test")
    world.end_job(w, 3, reason="Error")
    world.deliver()
    assert (world.state(w).attempt, world.cluster.running()) == (2, [])
    assert world.cluster.reported["ocean-compute/w"].step == world.state(w).step


def test_the_time_of_a_stage_does_not_begin_with_the_pause_before_it() -> None:
    world = World(stage_seconds=60, queue_seconds=60)
    w = world.reached(Stage.PUBLISH)
    for _ in range(4):
        world.wait_for_job(w)
        world.end_job(w, 62, reason="ResultUploadFailed")
        world.deliver()
    world.wait_for_job(w)  # after a quarter of an hour, far more than the stage may take
    world.tick()
    assert (world.state(w).attempt, world.state(w).halt) == (5, None)
    world.run(w)
    assert world.state(w).status == Code.FINISHED
