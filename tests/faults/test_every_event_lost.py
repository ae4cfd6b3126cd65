"""F5: with every event dropped, ticks alone bring each workflow to its end, and each stage within its time."""

from __future__ import annotations

import os
import random
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from support.world import DOCUMENT, TASK, World

from functions.workflow.codes import Code
from functions.workflow.model import WorkflowId
from functions.workflow.tick import FAST_PERIOD

BOUND = FAST_PERIOD + timedelta(seconds=10)  # while the container is not known to run, each fast tick checks
ROUNDS = 200 if os.environ.get("SLUICE_LONG") else 20
JOBS = 5


@pytest.mark.parametrize("document", [DOCUMENT, TASK], ids=["document", "task"])
@pytest.mark.parametrize("filtered", [True, False], ids=["with a filter", "without"])
def test_f5_each_stage_ends_within_a_fast_tick_and_ten_seconds_of_its_job(
    filtered: bool, document: Mapping[str, Any]
) -> None:
    dice = random.Random(5)
    longest = timedelta()
    for _ in range(ROUNDS):
        world = World(max_jobs=JOBS, filter_image="operator/filter" if filtered else "")
        ids = [world.submit(document=document) for _ in range(JOBS)]
        ended: dict[WorkflowId, datetime] = {}  # when the Job of the current stage has ended
        while not all(world.state(w).finished for w in ids):
            for ref in world.cluster.running():
                if dice.random() < 0.02:
                    world.end_job(ref.workflow)
                    ended[ref.workflow] = world.clock()
            world.events.clear()
            steps = {w: world.state(w).step for w in ids}
            world.pass_time(1)
            for w in [w for w in ended if world.state(w).step > steps[w]]:
                longest = max(longest, world.clock() - ended.pop(w))
        assert {world.state(w).status for w in ids} == {Code.FINISHED}
    print(f"\nevery event dropped: {ROUNDS * JOBS} workflows, a stage's end is found after {longest.seconds} s at most")
    assert longest <= BOUND


@pytest.mark.parametrize("request_", ["stop", "delete"])
def test_f5_a_stop_and_a_delete_end_too_while_pods_linger_and_nothing_is_announced(request_: str) -> None:
    world = World(lingering=True)
    w = world.submit()
    getattr(world, request_)(w)
    for _ in range(20):
        for ref in world.cluster.present():
            if ref in world.cluster.running() and world.state(w).halt is None:
                world.end_job(w)
            else:
                world.cluster.vanish(ref)
        world.events.clear()
        world.pass_time(60)
    assert world.state(w).finished
    assert world.cluster.present() == []
