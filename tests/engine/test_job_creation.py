"""What the record learns while a Job waits for its creation, and when it is created."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from msgspec.structs import replace
from support.rules import NOW, at, new

from functions.engine.job_creation import CREATED_LATE, record_job, record_wait
from functions.store.values import Intent
from functions.workflow.decision import CleanUp, CreateJob, Decision, Effect
from functions.workflow.model import JobUid, Limits, Stage, Waiting, Workflow
from functions.workflow.timing import stage_deadline

CURRENT = CreateJob(Stage.ALGORITHM, 1)
OTHERS = (CreateJob(Stage.ALGORITHM, 2), CreateJob(Stage.CONFIGURE, 1), CreateJob(Stage.ALGORITHM, 1, 1), CleanUp())
MADE = JobUid("made")


class Recorder:
    """A transaction that keeps what it is told."""

    def __init__(self) -> None:
        self.saved: list[Workflow] = []
        self.closed: list[tuple[Intent, JobUid]] = []

    def save(self, decision: Decision, cause: str) -> None:
        self.saved.append(decision.workflow)

    def record_job(self, intent: Intent, job_uid: JobUid, now: Any) -> None:
        self.closed.append((intent, job_uid))


def due(w: Workflow, effect: Effect = CURRENT) -> Intent:
    """The intent of an effect that was due at NOW."""
    return Intent(1, w.id, effect, 0, NOW)


def uncreated(waiting: Waiting | None = None) -> Workflow:
    return replace(at(Stage.ALGORITHM), job_uid=None, job_created_at=None, waiting=waiting)


def saved_wait(w: Workflow, effect: Effect, reason: str) -> list[Waiting | None]:
    tx: Any = Recorder()
    record_wait(tx, w, due(w, effect), reason, "sweep")
    return [each.waiting for each in tx.saved]


@pytest.mark.parametrize("known", [None, Waiting("Forbidden", NOW - timedelta(hours=1))])
def test_a_wait_counts_from_when_the_creation_was_due(known: Waiting | None) -> None:
    assert saved_wait(uncreated(known), CURRENT, "QuotaExceeded") == [Waiting("QuotaExceeded", NOW)]


@pytest.mark.parametrize("effect", OTHERS)
def test_the_wait_of_another_effect_is_not_the_workflows(effect: Effect) -> None:
    assert saved_wait(uncreated(), effect, "QuotaExceeded") == []
    assert saved_wait(new(), effect, "QuotaExceeded") == []


def test_a_wait_is_recorded_once_and_never_without_a_reason() -> None:
    w = uncreated(Waiting("QuotaExceeded", NOW - timedelta(hours=1)))
    assert saved_wait(w, CURRENT, "QuotaExceeded") == []
    assert saved_wait(uncreated(), CURRENT, "") == []


@pytest.mark.parametrize("effect", OTHERS)
def test_the_job_of_another_attempt_closes_its_intent_and_changes_nothing(effect: Effect) -> None:
    for w in (uncreated(), new()):
        tx: Any = Recorder()
        assert record_job(tx, w, due(w, effect), MADE, NOW, "sweep") == w
        assert (tx.saved, tx.closed) == ([], [(due(w, effect), MADE)])


def test_a_job_that_is_created_in_time_costs_no_further_statement() -> None:
    tx: Any = Recorder()
    w, now = uncreated(), NOW + CREATED_LATE - timedelta(seconds=1)
    created = record_job(tx, w, due(w), MADE, now, "sweep")
    assert created == replace(w, job_uid=MADE, job_created_at=now)
    assert (tx.saved, tx.closed) == ([], [(due(w), MADE)])


def test_a_job_that_is_created_after_a_wait_waits_no_longer() -> None:
    tx: Any = Recorder()
    w = uncreated(Waiting("QuotaExceeded", NOW))
    created = record_job(tx, w, due(w), MADE, NOW, "sweep")
    assert created == replace(w, job_uid=MADE, job_created_at=NOW, waiting=None)
    assert tx.saved == [created]


@pytest.mark.parametrize("ran_seconds", [0, 20])
def test_the_time_of_a_job_that_is_created_late_begins_with_it(ran_seconds: int) -> None:
    tx: Any = Recorder()
    w, now = replace(uncreated(), ran_seconds=ran_seconds), NOW + CREATED_LATE
    created = record_job(tx, w, due(w), MADE, now, "sweep")
    left = Limits(algorithm_seconds=w.limits.algorithm_seconds - ran_seconds)
    assert created.deadline == stage_deadline(left, Stage.ALGORITHM, now)
    assert tx.saved == [created]
