"""What a Job gets, when an effect that failed is tried again, and when it is given up."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.memory_cluster import MemoryCluster
from support.world import START, TASK, World

from functions.cluster.ports import ClusterUnavailable, StageJob
from functions.engine.effects import give_up, next_try
from functions.store.values import Intent
from functions.workflow.decision import CleanUp, CreateJob
from functions.workflow.model import JobUid, Outcome, Scope, Stage, WorkflowId
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
