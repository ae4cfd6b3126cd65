"""When an effect that failed is tried again, and when it is given up."""

from __future__ import annotations

from datetime import timedelta

import pytest
from support.world import START, World

from functions.cluster.ports import ClusterUnavailable
from functions.engine.effects import give_up, next_try
from functions.store.values import Intent
from functions.workflow.decision import CleanUp, CreateJob
from functions.workflow.model import Outcome, Stage, WorkflowId
from functions.workflow.observation import StageEnded


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
