"""The rows of docs/architecture.md's table about holds and releases."""

from datetime import timedelta

import pytest
from msgspec.structs import replace
from support.rules import MANIFEST, NOW, UID, at, ended, failed_with, new

from functions.workflow.codes import Code
from functions.workflow.decide import decide
from functions.workflow.decision import (
    CleanUp,
    CreateJob,
    Emit,
    RemoveQuarantine,
    RemoveReleased,
    RemoveResults,
    Verdict,
)
from functions.workflow.endings import told_ending, withholds_exit_codes
from functions.workflow.hold_rules import scope
from functions.workflow.model import (
    Hold,
    Limits,
    Manifest,
    Outcome,
    Phase,
    ResultFile,
    Scope,
    Stage,
    Stop,
    Workflow,
)
from functions.workflow.observation import (
    Admitted,
    Attested,
    DeleteRequested,
    FileViewed,
    HoldRejected,
    HoldReleased,
    Observation,
    Revoked,
    StopRequested,
    Tick,
)
from functions.workflow.steps import REMINDER, is_held_back
from functions.workflow.timing import MEDIUM_LEAD

DAY = 86_400
ALWAYS = Limits(hold=Hold.ALWAYS, hold_seconds=10 * DAY, storage_expiry=DAY)
ADMIN_LOG = ResultFile("adminlogs/publish.log", 1, "publishLog", "file:///r/publish.log")
WRITTEN = replace(MANIFEST, admin_files=(ADMIN_LOG,), warnings=("a file was skipped",), report="the report")
DECISION = "cd" * 32


def held(limits: Limits = ALWAYS) -> Workflow:
    """A workflow whose results wait for a decision."""
    return ended(at(Stage.PUBLISH, limits=limits), Outcome.SUCCEEDED, 0, manifest=WRITTEN).workflow


def released(w: Workflow) -> Workflow:
    """The workflow while its release runs."""
    return replace(decide(w, HoldReleased(DECISION), NOW).workflow, job_uid=UID, job_created_at=NOW)


# --- the hold -------------------------------------------------------------------------------


def test_held_results_wait_without_a_job_a_slot_and_a_volume() -> None:
    d = ended(at(Stage.PUBLISH, limits=ALWAYS), Outcome.SUCCEEDED, 0, manifest=WRITTEN)
    w = d.workflow
    assert (w.phase, w.status, w.attempt, w.job_uid, w.job_created_at) == (Phase.HELD, 50, 0, None, None)
    assert (d.slot_freed, d.held) == (True, WRITTEN)
    assert d.manifest == Manifest(admin_files=(ADMIN_LOG,), report="the report")
    end = NOW + timedelta(days=10)
    assert (w.held_until, w.deadline) == (end, end)
    assert w.wake_at == end - MEDIUM_LEAD


@pytest.mark.parametrize(
    ("seconds", "reminders"),
    [(10 * DAY, [5 * DAY, 9 * DAY]), (2 * DAY, [DAY]), (DAY, [DAY // 2]), (REMINDER + 1, [1, (REMINDER + 1) // 2])],
)
def test_a_hold_is_announced_at_once_after_half_its_time_and_a_day_before_its_end(
    seconds: int, reminders: list[int]
) -> None:
    d = ended(at(Stage.PUBLISH, limits=replace(ALWAYS, hold_seconds=seconds)), Outcome.SUCCEEDED, 0, manifest=WRITTEN)
    assert d.effects == (CleanUp(), Emit("held"), *(Emit("held", after=each) for each in reminders))


def test_an_empty_manifest_is_held_too() -> None:
    d = ended(at(Stage.PUBLISH, limits=ALWAYS), Outcome.SUCCEEDED, 0, manifest=Manifest())
    assert (d.workflow.phase, d.held) == (Phase.HELD, Manifest())


def test_results_of_a_failed_algorithm_are_not_held() -> None:
    w = ended(at(Stage.ALGORITHM, limits=ALWAYS), Outcome.FAILED, 3, "Error").workflow
    assert (w.phase, w.status, scope(w), is_held_back(w)) == (Phase.PUBLISH, 60, Scope.ADMIN_LOGS, False)
    d = ended(replace(w, job_uid=UID), Outcome.SUCCEEDED, 0, manifest=WRITTEN)
    assert (d.workflow.phase, d.workflow.status) == (Phase.FINISHED, 41)
    assert d.manifest == Manifest(admin_files=(ADMIN_LOG,), report="the report")


def test_a_stop_during_the_publishing_of_held_results_ends_the_workflow() -> None:
    w = decide(at(Stage.PUBLISH, limits=ALWAYS), StopRequested(), NOW).workflow
    d = ended(w, Outcome.SUCCEEDED, 0, manifest=WRITTEN)
    assert (d.workflow.phase, failed_with(d)) == (Phase.FINISHED, (Code.FINISHED, "StopRequested"))
    assert (d.held, RemoveQuarantine() in d.effects) == (None, True)


@pytest.mark.parametrize(
    ("observation", "after", "end", "event"),
    [
        (HoldRejected(DECISION), 0, (Code.FILTER_REFUSED, "Rejected"), Emit("rejected")),
        (Tick(), 10 * DAY, (Code.FILTER_REFUSED, "HoldExpired"), Emit("expired")),
        (StopRequested(), 0, (Code.FINISHED, "StopRequested"), None),
        (DeleteRequested(), 0, (Code.FINISHED, "StopRequested"), None),
    ],
)
def test_a_hold_that_ends_without_a_release_removes_the_quarantine(
    observation: Observation, after: int, end: tuple[Code, str], event: Emit | None
) -> None:
    d = decide(held(), observation, NOW + timedelta(seconds=after))
    assert (d.workflow.phase, failed_with(d), d.manifest) == (Phase.FINISHED, end, None)
    assert d.lines[0].reason == ("" if isinstance(observation, DeleteRequested) else end[1])
    assert (RemoveQuarantine() in d.effects, RemoveReleased() in d.effects) == (True, False)
    assert (RemoveResults() in d.effects) is isinstance(observation, DeleteRequested)
    assert {each.kind for each in d.effects if isinstance(each, Emit)} == {"finished", *([event.kind] if event else ())}
    assert not d.slot_freed  # it was freed when the hold began


def test_a_hold_lasts_until_its_last_second() -> None:
    d = decide(held(), Tick(), NOW + timedelta(days=10, seconds=-1))
    assert (d.verdict, d.workflow.phase) == (Verdict.UNCHANGED, Phase.HELD)


def test_a_view_of_a_held_file_is_a_line_of_the_history_and_changes_nothing_else() -> None:
    d = decide(held(), FileViewed(3), NOW)
    assert d.workflow == replace(held(), step=held().step + 1)
    assert [(line.event, line.reason) for line in d.lines] == [("file viewed", "3")]
    assert decide(at(Stage.PUBLISH, limits=ALWAYS), FileViewed(3), NOW).verdict is Verdict.LATE


# --- a decision, and the release ------------------------------------------------------------


def test_a_decision_starts_a_release_and_is_named_in_the_history() -> None:
    d = decide(held(), HoldReleased(DECISION), NOW)
    assert (d.workflow.phase, d.workflow.status, d.workflow.attempt) == (Phase.RELEASE, 60, 1)
    assert d.effects == (CreateJob(Stage.RELEASE, 1), Emit("decided"))
    assert [line.facts for line in d.lines] == [{"decision": DECISION}]
    assert decide(held(), HoldRejected(DECISION), NOW).lines[0].facts == {"decision": DECISION}


@pytest.mark.parametrize(
    ("w", "verdict"),
    [
        (at(Stage.PUBLISH, limits=ALWAYS), Verdict.FOREIGN),
        (released(held()), Verdict.LATE),
        (decide(held(), HoldRejected(DECISION), NOW).workflow, Verdict.LATE),
    ],
    ids=["not held yet", "being released", "finished"],
)
def test_a_decision_about_results_that_are_not_held_changes_nothing(w: Workflow, verdict: Verdict) -> None:
    for observation in (HoldReleased(DECISION), HoldRejected(DECISION)):
        d = decide(w, observation, NOW)
        assert (d.verdict, d.workflow) == (verdict, w)


def test_the_released_files_become_the_results() -> None:
    d = ended(released(held()), Outcome.SUCCEEDED, 0, manifest=MANIFEST)
    assert (d.workflow.phase, d.workflow.status, d.workflow.ending) == (Phase.FINISHED, 70, None)
    assert d.manifest == MANIFEST
    assert d.effects == (CleanUp(), RemoveQuarantine(), Emit("finished"), Emit("released"))
    assert d.workflow.wake_at == NOW + timedelta(days=1)  # their expiry


@pytest.mark.parametrize("reason", ["ResultUploadFailed", "OutputRefused", "Crashed"])
def test_a_release_that_fails_for_good_is_held_again_for_the_rest_of_its_time(reason: str) -> None:
    w = replace(released(held()), attempt=5)
    later = ended(w, Outcome.FAILED, 62, reason)
    assert (later.workflow.phase, later.workflow.attempt, later.workflow.job_uid) == (Phase.HELD, 5, None)
    assert (later.workflow.held_until, later.workflow.deadline) == (w.held_until, w.held_until)
    assert w.held_until is not None
    assert later.workflow.wake_at == w.held_until - MEDIUM_LEAD
    assert later.effects == (CleanUp(), Emit("release-failed"))
    assert later.lines[0].reason == reason
    again = decide(later.workflow, HoldReleased(DECISION), NOW)
    assert again.effects == (CreateJob(Stage.RELEASE, 6), Emit("decided"))


def test_each_release_has_all_its_attempts() -> None:
    for attempt, follows in ((1, True), (4, True), (5, False), (6, True), (10, False)):
        d = ended(replace(released(held()), attempt=attempt), Outcome.FAILED, 62, "ResultUploadFailed")
        assert d.workflow.phase is (Phase.RELEASE if follows else Phase.HELD), attempt


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"held_until": NOW}, "ResultUploadFailed"),
        ({"stop": Stop.REQUESTED}, "ResultUploadFailed"),
        ({}, "QuarantineChanged"),
    ],
)
def test_a_release_that_cannot_be_tried_again_ends_the_workflow(change: dict[str, object], reason: str) -> None:
    d = ended(replace(released(held()), attempt=5, **change), Outcome.FAILED, 62, reason)
    assert (d.workflow.phase, failed_with(d)) == (Phase.FINISHED, (Code.UPLOAD_FAILED, reason))
    assert d.effects == (CleanUp(), RemoveReleased(), RemoveQuarantine(), Emit("finished"))


@pytest.mark.parametrize("stage", [Stage.PUBLISH, Stage.RELEASE])
def test_a_publishing_that_says_it_succeeded_and_has_no_manifest_has_failed(stage: Stage) -> None:
    w = at(Stage.PUBLISH) if stage is Stage.PUBLISH else released(held())
    d = ended(replace(w, attempt=5), Outcome.SUCCEEDED, 0)
    assert d.closed is not None
    assert (d.closed.outcome, d.closed.reason, d.closed.exit_code) == (Outcome.FAILED, "ManifestMissing", 0)


# --- afterwards -----------------------------------------------------------------------------


def test_published_results_can_be_revoked_once() -> None:
    finished = ended(released(held()), Outcome.SUCCEEDED, 0, manifest=MANIFEST).workflow
    d = decide(finished, Revoked(), NOW)
    assert (d.workflow.removed, d.workflow.wake_at, d.workflow.status) == (True, None, 70)
    assert d.effects == (RemoveResults(), Emit("revoked"))
    assert decide(d.workflow, Revoked(), NOW).verdict is Verdict.DUPLICATE
    assert decide(replace(finished, expired=True), Revoked(), NOW).verdict is Verdict.DUPLICATE
    assert decide(held(), Revoked(), NOW).verdict is Verdict.FOREIGN


def test_a_statement_is_named_in_the_history_and_changes_nothing_else() -> None:
    for w in (new(), held(), ended(released(held()), Outcome.SUCCEEDED, 0, manifest=MANIFEST).workflow):
        d = decide(w, Attested(DECISION), NOW)
        assert d.workflow == replace(w, step=w.step + 1)
        assert [(line.event, line.facts) for line in d.lines] == [("attested", {"statement": DECISION})]


@pytest.mark.parametrize(
    ("limits", "withheld"),
    [(Limits(), False), (Limits(filtered=True), False), (Limits(checked=True), True), (ALWAYS, True)],
    ids=["open", "filtered", "checked", "held"],
)
def test_a_policy_withholds_the_exit_code_of_the_algorithm(limits: Limits, withheld: bool) -> None:
    w = ended(at(Stage.ALGORITHM, limits=limits), Outcome.FAILED, 3, "Error").workflow
    assert withholds_exit_codes(w) is withheld
    told = told_ending(w)
    assert told is not None
    assert (told.reason, told.exit_code) == (("AlgorithmExit", None) if withheld else ("AlgorithmExit:3", 3))
    assert told_ending(at(Stage.ALGORITHM, limits=limits)) is None


def test_an_admission_that_comes_twice_or_late_changes_nothing() -> None:
    for w, verdict in ((at(Stage.CONFIGURE), Verdict.DUPLICATE), (held(), Verdict.DUPLICATE)):
        assert decide(w, Admitted(), NOW).verdict is verdict
    finished = ended(at(Stage.PUBLISH), Outcome.SUCCEEDED, 0, manifest=MANIFEST).workflow
    assert decide(finished, Admitted(), NOW).verdict is Verdict.LATE
