"""What a Job gets, when an effect that failed is tried again, and when it is given up."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest
from msgspec.structs import replace
from support.memory_cluster import MemoryCluster
from support.world import START, TASK, World, record

from functions.cluster.ports import ClusterUnavailable, Rejected, StageJob
from functions.engine import effects
from functions.engine.effects import give_up, next_try
from functions.store.values import Freeze, Intent
from functions.workflow.decision import CleanUp, CreateJob, Report
from functions.workflow.document import DocumentError
from functions.workflow.model import JobUid, Outcome, Phase, Record, Scope, Stage, Workflow, WorkflowId
from functions.workflow.observation import StageEnded
from functions.workflow.tes_task import read


@pytest.mark.parametrize(("tries", "seconds"), [(0, 5), (1, 10), (2, 20), (6, 320), (7, 600), (8, 600), (10_000, 600)])
def test_the_pauses_between_tries_double_up_to_ten_minutes(tries: int, seconds: float) -> None:
    intent = Intent(1, WorkflowId("w"), CleanUp(), tries, START)
    assert next_try(intent, START) == START + timedelta(seconds=seconds)


def test_an_effect_that_fails_is_due_again_after_its_pause_and_not_before() -> None:
    world = World()
    world.cluster.fail_next("create", ClusterUnavailable("down"))
    w = world.submit()
    store = world.app.store
    before, due = world.clock() + timedelta(seconds=4), world.clock() + timedelta(seconds=5)
    assert store.claim_intents(before, before, 10) == []
    assert store.claim_intents(due, due, 10) == [w]


def test_a_stage_whose_job_could_not_be_created_has_failed_and_any_other_effect_just_ends() -> None:
    assert give_up(CleanUp()) is None
    end = give_up(CreateJob(Stage.PUBLISH, 2))
    assert end == StageEnded(Stage.PUBLISH, 2, None, Outcome.FAILED, reason="ClusterUnavailable")


@pytest.fixture
def created(monkeypatch: pytest.MonkeyPatch) -> list[StageJob]:
    """The Jobs that are asked for, in their order."""
    made: list[StageJob] = []
    create = MemoryCluster.create

    def creating(self: MemoryCluster, job: StageJob) -> JobUid:
        made.append(job)
        return create(self, job)

    monkeypatch.setattr(MemoryCluster, "create", creating)
    return made


def test_each_job_gets_what_its_stage_needs(created: list[StageJob]) -> None:
    world = World()
    w = world.submit(document=TASK)
    world.run(w)
    algorithm = [(Stage.ALGORITHM, 1, number) for number in range(3)]
    numbers = [(job.stage, job.attempt, job.executor) for job in created]
    assert numbers == [(Stage.CONFIGURE, 1, 0), *algorithm, (Stage.PUBLISH, 1, 0)]
    for job in created:
        assert (job.workflow, job.owner, job.secret, job.results) == (w, "0xowner", "secret", "memory:")
        assert (job.environment.id, job.definition, job.scope) == ("ocean-compute", read(TASK), Scope.ALL)
        assert (job.may_lack_volume, job.held, job.policy) == (False, None, "")


def test_a_job_after_a_failure_may_find_its_volume_missing(created: list[StageJob]) -> None:
    world = World()
    w = world.submit()
    world.end_job(w, 31)
    world.deliver()
    assert [(job.stage, job.may_lack_volume) for job in created] == [(Stage.CONFIGURE, False), (Stage.PUBLISH, True)]


def creation_fails(world: World, seconds: float) -> Workflow:
    """A workflow whose first Job the cluster has not answered about for this long."""
    world.cluster.fail_next("create", ClusterUnavailable("down"), times=1000)
    w = world.submit()
    world.clock.sleep(seconds)
    with suppress(ClusterUnavailable):
        world.app.transitions.carry_out(w, "test")
    return world.state(w)


def test_a_creation_waits_for_a_silent_cluster_as_long_as_a_workflow_may_wait_in_the_queue() -> None:
    waiting = creation_fails(World(queue_seconds=600), 599)
    assert (waiting.phase, waiting.ending) == (Phase.CONFIGURE, None)
    given_up = creation_fails(World(queue_seconds=600), 600)
    assert given_up.ending is not None
    assert given_up.ending.reason == "ClusterUnavailable"


def test_a_refused_creation_is_given_up_exactly_at_its_time() -> None:
    for seconds, reason in ((599, None), (600, "QuotaExceeded")):
        world = World(queue_seconds=600)
        world.cluster.fail_next("create", Rejected("QuotaExceeded", "full", final=False), times=1000)
        w = world.submit()
        world.clock.sleep(seconds)
        world.app.transitions.carry_out(w, "test")
        ending = world.state(w).ending
        assert (ending and ending.reason) == reason


def test_a_job_that_waits_for_a_freeze_is_looked_at_again_after_a_minute() -> None:
    world = World()
    w = world.reached(Stage.ALGORITHM)
    with world.app.store.begin() as tx:
        tx.freeze(Freeze("all", world.clock(), "admin", "an incident"))
    world.end_job(w)
    world.deliver()
    before, due = world.clock() + timedelta(seconds=59), world.clock() + timedelta(minutes=1)
    assert world.app.store.claim_intents(before, before, 10) == []
    assert world.app.store.claim_intents(due, due, 10) == [w]


def test_a_workflow_whose_document_is_invalid_fails_with_that_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    """operator-service may have inserted its row."""

    def no_document(_: object) -> None:
        raise DocumentError("$.stages", "an array")

    monkeypatch.setattr(effects, "document_of", no_document)
    world = World()
    w = world.submit()
    for _ in range(30):
        world.tick()
    ending = world.state(w).ending
    assert (ending and ending.reason) == "DocumentInvalid"
    assert world.cluster.present() == []


def test_the_state_of_a_workflow_object_is_reported_to_it_and_to_nobody_else() -> None:
    world = World()
    world.run(submit_object(world))
    world.run(world.submit())
    assert {name: workflow.id for name, workflow in world.cluster.reported.items()} == {"lab/penguins": f"{99:032x}"}
    assert world.cluster.reported["lab/penguins"].finished


@pytest.mark.parametrize(
    ("error", "again"), [(ClusterUnavailable("down"), True), (Rejected("Gone", "no such object", final=True), False)]
)
def test_a_status_is_reported_again_only_if_the_cluster_did_not_answer(error: Exception, again: bool) -> None:
    world = World()
    world.cluster.fail_next("report", error)
    w = submit_object(world)
    kinds = [type(intent.effect) for intent in intents(world, w)]
    assert (Report in kinds) is again
    world.tick()
    assert [type(intent.effect) for intent in intents(world, w) if type(intent.effect) is Report] == []


def test_the_state_after_a_refused_job_is_what_is_reported() -> None:
    world = World()
    world.cluster.fail_next("create", Rejected("Invalid", "no", final=True))
    w = submit_object(world)
    reported = world.cluster.reported["lab/penguins"]
    assert (reported.phase, reported.ending) == (Phase.PUBLISH, world.state(w).ending)
    assert reported.ending is not None
    assert reported.ending.reason == "Invalid"


def submit_object(world: World) -> WorkflowId:
    """A workflow that came as the WorkFlow object `lab/penguins`."""
    new = record(world.app, 99)
    submission = replace(new.submission, origin="lab/penguins")
    return world.app.transitions.submit(Record(replace(new.workflow, reported=True), submission), "test").workflow.id


def intents(world: World, workflow: WorkflowId) -> list[Intent]:
    """The effects that are still to be carried out."""
    with world.app.store.begin() as tx:
        return list(tx.intents(workflow))
