"""What holds in every state a workflow can reach, for every observation: totality and the invariants."""

from datetime import timedelta
from itertools import pairwise

import pytest
from msgspec.structs import replace
from support.rules import LONG_AFTER, NOW, UID, new, observations, reachable

from functions.workflow.decide import decide
from functions.workflow.decision import (
    CleanUp,
    CreateJob,
    Decision,
    DeleteJob,
    RemoveQuarantine,
    RemoveReleased,
    RemoveResults,
    Verdict,
)
from functions.workflow.model import Findings, Hold, JobUid, Limits, Outcome, Phase, Stage, Stop, Workflow
from functions.workflow.observation import (
    Admitted,
    HoldReleased,
    Observation,
    StageEnded,
    StageLost,
    StopRequested,
    Tick,
)
from functions.workflow.tes_state import TesState, state_of

Steps = list[tuple[Workflow, Observation, Decision]]
HELD = Limits(attempts=2, checked=True, hold=Hold.ALWAYS, hold_seconds=86_400 * 60)
HELD_ON_FINDINGS = Limits(attempts=1, filtered=True, checked=True, hold=Hold.ON_FINDINGS, hold_seconds=3600)
TERMS = {
    "plain": Limits(attempts=3),
    "filtered": Limits(attempts=3, filtered=True, storage_expiry=60),
    "one attempt": Limits(attempts=1),
    "checked": Limits(attempts=2, checked=True),
    "held": HELD,
    "held on findings": HELD_ON_FINDINGS,
    "task": Limits(attempts=2, ignore_errors=(True, False, True)),
    "filtered task": Limits(attempts=1, filtered=True, ignore_errors=(False, True)),
}
LEGAL_EDGES = {
    (Phase.QUEUED, Phase.QUEUED),
    (Phase.QUEUED, Phase.CONFIGURE),
    (Phase.QUEUED, Phase.FINISHED),
    (Phase.CONFIGURE, Phase.CONFIGURE),
    (Phase.CONFIGURE, Phase.ALGORITHM),
    (Phase.CONFIGURE, Phase.PUBLISH),
    (Phase.CONFIGURE, Phase.FINISHED),
    (Phase.ALGORITHM, Phase.ALGORITHM),
    (Phase.ALGORITHM, Phase.FILTER),
    (Phase.ALGORITHM, Phase.PUBLISH),
    (Phase.ALGORITHM, Phase.FINISHED),
    (Phase.ALGORITHM, Phase.CHECK),
    (Phase.FILTER, Phase.CHECK),
    (Phase.CHECK, Phase.CHECK),
    (Phase.CHECK, Phase.PUBLISH),
    (Phase.CHECK, Phase.FINISHED),
    (Phase.PUBLISH, Phase.HELD),
    (Phase.HELD, Phase.HELD),
    (Phase.HELD, Phase.RELEASE),
    (Phase.HELD, Phase.FINISHED),
    (Phase.RELEASE, Phase.RELEASE),
    (Phase.RELEASE, Phase.HELD),
    (Phase.RELEASE, Phase.FINISHED),
    (Phase.FILTER, Phase.FILTER),
    (Phase.FILTER, Phase.PUBLISH),
    (Phase.FILTER, Phase.FINISHED),
    (Phase.PUBLISH, Phase.PUBLISH),
    (Phase.PUBLISH, Phase.FINISHED),
    (Phase.FINISHED, Phase.FINISHED),
}


@pytest.fixture(scope="module", params=list(TERMS.values()), ids=list(TERMS))
def states(request: pytest.FixtureRequest) -> list[Workflow]:
    return list(reachable(request.param).values())


@pytest.fixture(scope="module")
def steps(states: list[Workflow]) -> Steps:
    """Every state × every observation, in time and long after."""
    return [
        (w, observation, decide(w, observation, now))
        for w in states
        for observation in observations(w)
        for now in (NOW, LONG_AFTER)
    ]


def test_every_phase_is_reached_in_many_shapes(states: list[Workflow]) -> None:
    limits = states[0].limits
    unreached = set() if limits.filtered else {Phase.FILTER}
    unreached |= set() if limits.checked else {Phase.CHECK}
    unreached |= set() if limits.hold is not Hold.NEVER else {Phase.HELD, Phase.RELEASE}
    assert {w.phase for w in states} == set(Phase) - unreached
    assert len(states) > 60


def test_every_unfinished_state_has_a_next_wake_up(states: list[Workflow]) -> None:
    for w in states:
        assert w.finished == (w.finished_at is not None)
        assert w.finished or (w.wake_at is not None and w.deadline is not None), w


def test_a_finished_workflow_never_changes_its_end(steps: Steps) -> None:
    for w, observation, decision in steps:
        if w.finished:
            after = decision.workflow
            end = (after.phase, after.status, after.ending, after.finished_at, after.stop)
            assert end == (w.phase, w.status, w.ending, w.finished_at, w.stop), observation


def test_history_is_gapless_and_a_path_of_legal_edges(steps: Steps) -> None:
    for w, _, decision in steps:
        numbers = [w.step, *(line.step for line in decision.lines)]
        assert all(b == a + 1 for a, b in pairwise(numbers))
        assert decision.workflow.step == numbers[-1]
        assert {(line.before, line.after) for line in decision.lines} <= LEGAL_EDGES


def test_a_decision_that_changes_nothing_has_a_verdict_and_no_effects(steps: Steps) -> None:
    for w, observation, decision in steps:
        if decision.verdict is not Verdict.APPLIED:
            assert not decision.effects
            assert not decision.lines
            moved = replace(decision.workflow, wake_at=w.wake_at, deadline=w.deadline)
            moved = replace(moved, waiting=w.waiting, runs_since=w.runs_since)
            assert moved == w, observation


def test_after_a_stop_no_algorithm_is_started_any_more(steps: Steps) -> None:
    """By induction over all states: who is stopped starts none, and stays stopped."""
    for w, observation, decision in steps:
        if w.stop is Stop.REQUESTED:
            assert decision.workflow.stop is Stop.REQUESTED
        if decision.workflow.stop is Stop.REQUESTED:
            assert not any(isinstance(e, CreateJob) and e.stage is Stage.ALGORITHM for e in decision.effects), (
                observation
            )


def test_a_stop_is_acknowledged_in_every_unfinished_state(states: list[Workflow]) -> None:
    for w in states:
        assert w.finished or decide(w, StopRequested(), NOW).workflow.stop is not Stop.NONE


def test_a_job_is_created_only_on_entering_its_stage_or_its_next_attempt(steps: Steps) -> None:
    for w, _, decision in steps:
        after = decision.workflow
        for effect in (e for e in decision.effects if isinstance(e, CreateJob)):
            assert (effect.stage, effect.attempt, effect.executor) == (after.stage, after.attempt, after.executor)
            assert (after.phase, after.attempt, after.executor) != (w.phase, w.attempt, w.executor)
            assert after.job_uid is None


def test_the_next_stage_starts_only_after_the_one_before_was_recorded_as_ended(steps: Steps) -> None:
    for w, _, decision in steps:
        if w.stage and decision.workflow.phase is not w.phase:
            assert decision.closed is not None
            closed = decision.closed
            assert (closed.stage, closed.attempt, closed.executor) == (w.stage, w.attempt, w.executor)


def test_attempts_are_bounded_and_an_algorithm_never_runs_twice(states: list[Workflow]) -> None:
    for w in states:
        assert w.attempt <= w.limits.attempts
        if w.stage in (Stage.ALGORITHM, Stage.FILTER):
            assert w.attempt == 1


def test_executors_run_one_after_the_other_and_each_once(steps: Steps) -> None:
    for w, _, decision in steps:
        after = decision.workflow
        assert after.executor == 0 or after.phase is Phase.ALGORITHM
        assert after.executor < after.limits.executors
        if after.phase is Phase.ALGORITHM and w.phase is Phase.ALGORITHM:
            assert after.executor in (w.executor, w.executor + 1)
            assert (decision.closed is not None) == (after.executor != w.executor)


def test_an_executor_follows_only_a_success_or_an_error_that_may_be_ignored(steps: Steps) -> None:
    for w, observation, decision in steps:
        if decision.workflow.phase is w.phase is Phase.ALGORITHM and decision.workflow.executor != w.executor:
            assert isinstance(observation, StageEnded)
            if observation.outcome is not Outcome.SUCCEEDED:
                assert w.limits.ignore_errors[w.executor]
                assert observation.outcome is Outcome.FAILED
                assert observation.exit_code is not None
                assert not observation.oom_killed


def test_a_task_never_leaves_a_final_state_and_never_returns_to_an_earlier_one(steps: Steps) -> None:
    order = ["QUEUED", "INITIALIZING", "RUNNING", "CANCELING", "CANCELED"]
    final = {TesState.COMPLETE, TesState.EXECUTOR_ERROR, TesState.SYSTEM_ERROR, TesState.CANCELED}
    for w, observation, decision in steps:
        before, after = state_of(w), state_of(decision.workflow)
        assert before == after or before not in final or (before is TesState.CANCELED and after is before), (w, after)
        if after in order and before in order and observation != Tick(suspended=True):  # it does not run any more
            assert order.index(after) >= order.index(before), w
        assert not w.finished or before in final


def test_the_end_frees_the_slot_once_and_cleans_up(steps: Steps) -> None:
    for w, _, decision in steps:
        assert decision.slot_freed == (w.takes_slot and not decision.workflow.takes_slot)
        if decision.slot_freed:
            assert CleanUp() in decision.effects


def test_results_are_kept_only_if_publish_succeeded(steps: Steps) -> None:
    for w, observation, decision in steps:
        if decision.manifest is not None:
            assert w.phase in (Phase.PUBLISH, Phase.RELEASE)
            assert isinstance(observation, StageEnded)
            assert observation.outcome is Outcome.SUCCEEDED
            assert not w.removed


def test_nothing_leaves_that_must_be_held_without_a_decision(steps: Steps) -> None:
    """Files become results only at the end of a release, which only a complete decision starts."""
    for w, observation, decision in steps:
        entered = decision.workflow.phase is Phase.RELEASE and w.phase is not Phase.RELEASE
        assert not entered or (w.phase is Phase.HELD and isinstance(observation, HoldReleased))
        held_back = w.limits.hold is Hold.ALWAYS or w.findings is not Findings.NONE
        if decision.manifest is not None and decision.manifest.files and w.limits.hold is not Hold.NEVER and held_back:
            assert w.phase is Phase.RELEASE


def test_what_was_held_is_removed_at_the_end(steps: Steps) -> None:
    for w, _, decision in steps:
        if decision.workflow.finished and w.phase in (Phase.HELD, Phase.RELEASE):
            assert RemoveQuarantine() in decision.effects


def test_what_a_release_copied_is_removed_unless_it_succeeds(steps: Steps) -> None:
    for w, _, decision in steps:
        begun = w.phase is Phase.RELEASE or (w.phase is Phase.HELD and w.attempt > 0)
        if decision.workflow.finished and begun:
            released = decision.workflow.ending is None and not decision.workflow.removed
            assert released == (not {RemoveReleased(), RemoveResults()} & set(decision.effects))


@pytest.mark.parametrize("job_uid", [UID, None], ids=["jobs vanish", "jobs never come to be"])
def test_time_alone_ends_every_workflow(states: list[Workflow], job_uid: JobUid | None) -> None:
    """No event ever comes: ticks and reads of the cluster bring each state to its end."""
    for w in states:
        now = NOW
        for _ in range(60):
            if w.finished:
                break
            now = max(now + timedelta(hours=6), w.deadline or now)
            w = decide(replace(w, job_uid=job_uid) if w.stage else w, _truth(w), now).workflow
        assert w.finished


def _truth(w: Workflow) -> StageLost | Tick:
    return StageLost(w.stage, w.attempt, w.executor) if w.stage else Tick()


def test_a_halted_stage_is_over_when_its_job_does_not_go_away(states: list[Workflow]) -> None:
    for w in (w for w in states if w.halt is not None):
        assert w.deadline is not None
        after = decide(w, Tick(), w.deadline)
        # Never the next attempt: both would write to the same volume.
        assert (after.workflow.phase, after.workflow.executor) != (w.phase, w.executor)
        assert not any(isinstance(e, DeleteJob) for e in after.effects)


def test_only_the_current_attempts_own_job_is_believed() -> None:
    w = replace(new(), phase=Phase.PUBLISH, attempt=2, job_uid=UID, deadline=LONG_AFTER)
    others = [o for o in observations(w) if isinstance(o, StageEnded) and (o.stage, o.attempt) != (Stage.PUBLISH, 2)]
    assert others
    order = list(Stage)
    for end in others:
        earlier = (order.index(end.stage), end.attempt) < (order.index(Stage.PUBLISH), 2)
        assert decide(w, end, NOW).verdict is (Verdict.DUPLICATE if earlier else Verdict.FOREIGN)


def test_a_job_of_the_same_name_with_another_uid_is_not_believed() -> None:
    w = replace(new(), phase=Phase.ALGORITHM, attempt=1, job_uid=UID, deadline=LONG_AFTER)
    after = decide(w, StageEnded(Stage.ALGORITHM, 1, JobUid("another"), Outcome.SUCCEEDED, 0), NOW)
    assert (after.verdict, after.workflow, after.effects) == (Verdict.FOREIGN, w, ())


def test_only_a_queued_workflow_is_admitted(states: list[Workflow]) -> None:
    for w in (w for w in states if w.phase is not Phase.QUEUED):
        again = decide(w, Admitted(), NOW)
        verdict = Verdict.LATE if w.finished else Verdict.DUPLICATE
        assert (again.verdict, again.workflow, again.effects) == (verdict, w, ())
