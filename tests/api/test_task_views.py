"""What BASIC and FULL tell of a task while it runs and after it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from msgspec.structs import replace

from functions.api.tes.task_view import View, task_view
from functions.store.values import Attempt, StoredTask
from functions.workflow.codes import Code
from functions.workflow.decision import AttemptEnd
from functions.workflow.model import (
    DeliveredFile,
    Ending,
    Hold,
    Limits,
    Manifest,
    Outcome,
    Phase,
    Record,
    Stage,
    Stop,
    Streams,
    Submission,
    Waiting,
    Workflow,
    WorkflowId,
)
from functions.workflow.tes_state import state_of

NOW = datetime(2026, 11, 22, 12, 0, 0, 123456, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return NOW + timedelta(seconds=seconds)


def stored(ignored: tuple[bool, ...] = (False,), *, ran: tuple[int | None, ...] = (), **about: Any) -> StoredTask:
    """A task whose first executors have ended with these exit codes; None for one whose container never ran."""
    manifest = about.pop("manifest", Manifest())
    warnings = about.pop("warnings", ())
    workflow = replace(Workflow(WorkflowId("t"), "lab", Limits(ignore_errors=ignored), NOW), **about)
    attempts = [] if workflow.phase is Phase.QUEUED else [Attempt(Stage.CONFIGURE, 1, at(1))]
    attempts += [ended(n, code) for n, code in enumerate(ran)]
    if workflow.phase is Phase.ALGORITHM:
        attempts.append(Attempt(Stage.ALGORITHM, 1, at(20), executor=workflow.executor))
    submission = Submission("t", "alice", "tes", {"executors": []}, "", dialect="tes", warnings=warnings)
    return StoredTask(state_of(workflow), Record(workflow, submission, manifest), attempts)


def ended(executor: int, code: int | None) -> Attempt:
    outcome = Outcome.SUCCEEDED if code == 0 else Outcome.FAILED
    began = None if code is None else at(10 + executor)
    end = AttemptEnd(Stage.ALGORITHM, 1, outcome, code, "", at(10.5 + executor), executor, began)
    return Attempt(Stage.ALGORITHM, 1, at(9), None, end, executor)


def log(task: StoredTask, view: View = View.FULL) -> dict[str, Any]:
    (found,) = task_view(task, view)["logs"]
    return dict(found)


def codes(task: StoredTask) -> list[int]:
    return [each["exit_code"] for each in log(task)["logs"]]


FAILED = Ending(Code.ALGORITHM_FAILED, "ExecutorExit:3", exit_code=3)


@pytest.mark.parametrize(
    ("ignored", "phase", "ran", "executor", "shown"),
    [
        ((False,), Phase.QUEUED, (), 0, [-1]),
        ((False, False), Phase.QUEUED, (), 0, [-1]),
        ((True, False, False), Phase.QUEUED, (), 0, [-1, -1]),
        ((True, True), Phase.CONFIGURE, (), 0, [-1, -1]),
        ((False, False), Phase.ALGORITHM, (), 0, [-1]),
        ((False, False), Phase.ALGORITHM, (0,), 1, [0, -1]),
        ((True, False, False), Phase.ALGORITHM, (7,), 1, [7, -1]),
        ((False, False), Phase.PUBLISH, (3,), 0, [3]),
        ((False, False), Phase.PUBLISH, (None,), 0, []),
        ((True, False), Phase.FINISHED, (7, 0), 0, [7, 0]),
        ((False, False), Phase.FINISHED, (3,), 0, [3]),
        ((False, False), Phase.FINISHED, (), 0, []),
    ],
)
def test_while_a_task_runs_it_has_an_entry_for_each_executor_that_is_certain_to_run_and_then_for_each_that_ran(
    ignored: tuple[bool, ...], phase: Phase, ran: tuple[int | None, ...], executor: int, shown: list[int]
) -> None:
    assert codes(stored(ignored, ran=ran, phase=phase, executor=executor)) == shown


def test_a_canceled_task_shows_the_executors_that_ran() -> None:
    assert codes(stored((False, False), ran=(0,), phase=Phase.FINISHED, stop=Stop.REQUESTED)) == [0]
    assert codes(stored((False,), phase=Phase.ALGORITHM, stop=Stop.REQUESTED)) == []


@pytest.mark.parametrize("started", [at(10), None])
def test_an_executor_that_used_up_its_time_has_run_and_has_no_exit_code_of_its_own(started: datetime | None) -> None:
    end = AttemptEnd(Stage.ALGORITHM, 1, Outcome.TIMED_OUT, None, "DeadlineExceeded", at(20), 0, started)
    task = stored((False,), phase=Phase.FINISHED)
    assert codes(replace(task, attempts=[Attempt(Stage.ALGORITHM, 1, at(9), None, end)])) == [-1]


def test_times_are_told_as_soon_as_they_are_known() -> None:
    queued = log(stored())
    assert not {"start_time", "end_time"} & set(queued)
    assert set(queued["logs"][0]) == {"exit_code"}
    running = log(stored((False, False), ran=(0,), phase=Phase.ALGORITHM, executor=1, runs_since=at(21)))
    assert running["start_time"] == "2026-11-22T12:00:01.123Z"
    assert running["logs"] == [
        {"start_time": "2026-11-22T12:00:10.123Z", "end_time": "2026-11-22T12:00:10.623Z", "exit_code": 0},
        {"start_time": "2026-11-22T12:00:21.123Z", "exit_code": -1},
    ]
    assert log(stored(ran=(0,), phase=Phase.FINISHED, finished_at=at(30)))["end_time"] == "2026-11-22T12:00:30.123Z"


def test_what_was_delivered_and_printed_is_told() -> None:
    manifest = Manifest(
        delivered=(DeliveredFile("s3://b/out/a", "/out/a", 1 << 40),),
        streams=(Streams("hello\n", "oops"), Streams()),
        warnings=("/out/l is a link; it is not delivered",),
    )
    task = stored((True, False), ran=(3, 0), phase=Phase.FINISHED, manifest=manifest, warnings=("x is ignored",))
    full = log(task)
    assert full["outputs"] == [{"url": "s3://b/out/a", "path": "/out/a", "size_bytes": "1099511627776"}]
    assert [(each["stdout"], each["stderr"]) for each in full["logs"]] == [("hello\n", "oops"), ("", "")]
    assert full["system_logs"] == ["x is ignored", "/out/l is a link; it is not delivered"]
    basic = log(task, View.BASIC)
    assert "system_logs" not in basic
    assert not {"stdout", "stderr"} & {name for each in basic["logs"] for name in each}
    assert basic["outputs"] == full["outputs"]


def test_a_file_that_two_outputs_skip_is_told_once() -> None:
    manifest = Manifest(warnings=("/out/l is a link", "/out/m is a link", "/out/l is a link"))
    told = log(stored(ran=(0,), phase=Phase.FINISHED, manifest=manifest))["system_logs"]
    assert told == ["/out/l is a link", "/out/m is a link"]


@pytest.mark.parametrize(
    ("about", "frozen", "outputs"),
    [({"removed": True}, False, 0), ({"expired": True}, False, 1), ({}, True, 0), ({"expired": True}, True, 0)],
)
def test_what_was_taken_back_or_is_frozen_or_has_expired_is_no_longer_shown(
    about: dict[str, Any], frozen: bool, outputs: int
) -> None:
    delivered = (DeliveredFile("s3://b/out/a", "/out/a", 1),)
    manifest = Manifest(delivered=delivered, streams=(Streams("hello", "oops"),), warnings=("/out/l",))
    task = stored(ran=(0,), phase=Phase.FINISHED, manifest=manifest, **about)
    (shown,) = task_view(task, View.FULL, frozen=frozen)["logs"]
    assert len(shown["outputs"]) == outputs
    assert not {"stdout", "stderr"} & set(shown["logs"][0])
    assert shown["system_logs"] == []


def test_where_a_filter_is_nothing_that_was_printed_is_shown_and_the_log_says_so() -> None:
    task = stored(ran=(0,), phase=Phase.FINISHED, limits=Limits(filtered=True, ignore_errors=(False,)))
    assert set(log(task)["logs"][0]) == {"start_time", "end_time", "exit_code"}
    assert "filters what leaves it" in log(task)["system_logs"][-1]


def test_the_reason_of_an_end_and_of_a_wait_are_told() -> None:
    failed = log(stored(ran=(3,), phase=Phase.FINISHED, ending=FAILED))
    assert failed["metadata"] == {"environment": "lab", "reason": "ExecutorExit:3"}
    assert failed["system_logs"] == ["ended: ExecutorExit:3"]
    late = log(stored(phase=Phase.FINISHED, ending=Ending(Code.FINISHED, "DeadlineExceeded")))
    assert "maxtime" in late["system_logs"][0]
    waits = log(stored(phase=Phase.CONFIGURE, waiting=Waiting("Unschedulable", at(2))))
    assert waits["metadata"] == {"environment": "lab", "waiting": "Unschedulable"}
    assert waits["system_logs"] == ["waiting: Unschedulable"]


@pytest.mark.parametrize(
    "limits", [Limits(ignore_errors=(False,), checked=True), Limits(ignore_errors=(False,), hold=Hold.ALWAYS)]
)
def test_an_executor_under_a_policy_passes_nothing_on_in_the_reason_of_its_end(limits: Limits) -> None:
    task = stored(ran=(3,), phase=Phase.FINISHED, ending=FAILED, limits=limits)
    assert "ExecutorExit:3" not in str(task_view(task, View.FULL))
    assert log(task)["metadata"]["reason"] == "ExecutorExit"
    assert log(task)["logs"][0]["end_time"] == "2026-11-22T12:00:00.000Z"
    done = replace(task.record.workflow, finished_at=at(30))
    assert log(replace(task, record=replace(task.record, workflow=done)))["end_time"] == "2026-11-22T12:00:00.000Z"
    assert log(stored(ran=(3,), phase=Phase.FINISHED, ending=FAILED))["metadata"]["reason"] == "ExecutorExit:3"
