"""A cluster that refuses a Job, or does not answer."""

import pytest
from support.world import TASK, World, record

from functions.cluster.ports import ClusterUnavailable, NameConflict, Rejected
from functions.store.values import Freeze
from functions.workflow.codes import Code
from functions.workflow.model import Outcome, Phase, Stage, Waiting, WorkflowId


def test_a_job_that_the_cluster_rejects_for_good_fails_its_stage_with_the_reason() -> None:
    world = World()
    world.cluster.fail_next("create", Rejected("Invalid", "no", final=True))
    w = world.submit()
    assert world.state(w).phase is Phase.PUBLISH
    world.run(w)
    ending = world.state(w).ending
    assert ending is not None
    assert (world.state(w).status, ending.reason) == (31, "Invalid")


def test_the_refusal_of_a_later_executor_ends_that_executor() -> None:
    world = World()
    w = world.submit(document=TASK)
    world.end_job(w)
    world.deliver()
    assert world.state(w).stage is Stage.ALGORITHM
    world.cluster.fail_next("create", Rejected("Invalid", "no", final=True))
    world.end_job(w)
    world.deliver()
    ends = [(each.executor, each.end and each.end.outcome) for each in world.app.store.attempts(w)]
    assert ends[1:3] == [(0, Outcome.SUCCEEDED), (1, Outcome.FAILED)]


def test_a_job_that_the_cluster_refuses_for_now_is_tried_again_by_the_sweep() -> None:
    world = World()
    world.cluster.fail_next("create", Rejected("QuotaExceeded", "full", final=False))
    w = world.submit()
    assert world.cluster.present() == []
    world.tick()
    assert [ref.stage for ref in world.cluster.running()] == [Stage.CONFIGURE]
    assert world.state(w).phase is Phase.CONFIGURE


def test_a_quota_that_never_frees_up_is_not_waited_for_beyond_the_queue_time() -> None:
    world = World(queue_seconds=600)
    world.cluster.fail_next("create", Rejected("QuotaExceeded", "full", final=False), times=1000)
    w = world.submit()
    for _ in range(40):
        world.tick()
    ending = world.state(w).ending
    assert ending is not None
    assert ending.reason == "QuotaExceeded"


def test_a_workflow_submitted_during_an_outage_starts_later() -> None:
    world = World()
    world.cluster.fail_next("create", ClusterUnavailable("down"))
    world.app.transitions.submit(record(world.app, 99), "test")
    w = WorkflowId(f"{99:032x}")
    assert world.state(w).phase is Phase.CONFIGURE
    world.tick()
    world.run(w)
    assert world.state(w).status == Code.FINISHED


def test_an_event_redelivered_after_a_crash_completes_what_was_decided() -> None:
    world = World()
    w = world.submit()
    world.end_job(w)
    headers, body = world.events[-1]
    world.cluster.fail_next("create", ClusterUnavailable("down"))
    with pytest.raises(ClusterUnavailable):
        world.deliver()
    assert world.state(w).phase is Phase.ALGORITHM
    assert world.cluster.running() == []
    world.receive(headers, body)
    assert [ref.stage for ref in world.cluster.running()] == [Stage.ALGORITHM]


def test_the_owner_sees_that_a_job_waits_for_a_quota_until_it_is_created() -> None:
    world = World()
    world.cluster.fail_next("create", Rejected("QuotaExceeded", "full", final=False), times=2)
    w = world.submit()
    began = world.clock()
    for _ in range(2):
        assert world.state(w).waiting == Waiting("QuotaExceeded", began)
        world.tick()
    assert [ref.stage for ref in world.cluster.running()] == [Stage.CONFIGURE]
    assert world.state(w).waiting is None


def test_the_owner_does_not_see_that_a_job_waits_for_a_freeze() -> None:
    world = World()
    w = world.reached(Stage.ALGORITHM)
    with world.app.store.begin() as tx:
        tx.freeze(Freeze("all", world.clock(), "admin", "an incident"))
    world.end_job(w)
    world.deliver()
    assert (world.state(w).stage, world.cluster.running()) == (Stage.PUBLISH, [])
    assert world.state(w).waiting is None


def test_a_freeze_of_another_environment_holds_nothing_up() -> None:
    world = World()
    w = world.reached(Stage.ALGORITHM)
    with world.app.store.begin() as tx:
        tx.freeze(Freeze("environment:another", world.clock(), "admin", "an incident"))
    world.end_job(w)
    world.deliver()
    assert [ref.stage for ref in world.cluster.running()] == [Stage.PUBLISH]


def test_a_job_of_somebody_else_with_our_name_fails_the_stage() -> None:
    world = World()
    world.cluster.fail_next("create", NameConflict("not ours"))
    w = world.submit()
    world.run(w)
    ending = world.state(w).ending
    assert ending is not None
    assert (world.state(w).status, ending.reason) == (31, "NameConflict")


def test_a_workflow_whose_environment_is_gone_ends() -> None:
    world = World()
    w = world.reached(Stage.CONFIGURE)
    del world.app.environments["ocean-compute"]  # type: ignore[attr-defined]
    world.end_job(w)
    world.deliver()
    for _ in range(40):
        world.tick()
    ending = world.state(w).ending
    assert ending is not None
    assert (world.state(w).finished, ending.reason) == (True, "EnvironmentUnknown")
