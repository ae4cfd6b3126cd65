"""The rows of docs/architecture.md's table about disclosure checks."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from support.rules import at, ended, failed_with

from functions.workflow.codes import Code
from functions.workflow.decision import CreateJob
from functions.workflow.hold_rules import scope
from functions.workflow.model import Ending, Findings, Hold, Limits, Outcome, Phase, Scope, Stage
from functions.workflow.steps import is_held_back

ON_FINDINGS = Limits(checked=True, hold=Hold.ON_FINDINGS, hold_seconds=864_000)


@pytest.mark.parametrize("before", [Stage.ALGORITHM, Stage.FILTER])
def test_checks_follow_where_a_policy_asks_for_them(before: Stage) -> None:
    limits = Limits(checked=True, filtered=before is Stage.FILTER)
    d = ended(at(before, limits=limits), Outcome.SUCCEEDED, 0)
    assert (d.workflow.phase, d.workflow.status, d.effects) == (Phase.CHECK, 50, (CreateJob(Stage.CHECK, 1),))


@pytest.mark.parametrize(
    ("exit_code", "findings", "published"),
    [
        (0, Findings.NONE, Scope.OUTPUTS),
        (10, Findings.REVIEW, Scope.ADMIN_LOGS),
        (11, Findings.BLOCK, Scope.ADMIN_LOGS),
    ],
)
def test_without_a_hold_each_finding_keeps_outputs_in_because_nobody_can_review_it(
    exit_code: int, findings: Findings, published: Scope
) -> None:
    outcome = Outcome.FAILED if exit_code else Outcome.SUCCEEDED
    w = ended(at(Stage.CHECK, limits=Limits(checked=True)), outcome, exit_code).workflow
    assert (w.phase, w.findings, scope(w)) == (Phase.PUBLISH, findings, published)
    assert w.ending == (Ending(Code.FILTER_REFUSED, "OutputBlocked") if exit_code else None)


@pytest.mark.parametrize(
    ("hold", "exit_code", "is_held"),
    [
        (Hold.ALWAYS, 0, True),
        (Hold.ALWAYS, 11, True),
        (Hold.ON_FINDINGS, 0, False),
        (Hold.ON_FINDINGS, 10, True),
        (Hold.ON_FINDINGS, 11, True),
    ],
)
def test_a_hold_decides_which_findings_a_person_looks_at(hold: Hold, exit_code: int, is_held: bool) -> None:
    outcome = Outcome.FAILED if exit_code else Outcome.SUCCEEDED
    w = ended(at(Stage.CHECK, limits=replace(ON_FINDINGS, hold=hold)), outcome, exit_code).workflow
    assert (w.ending, is_held_back(w)) == (None, is_held)
    assert (scope(w), w.status) == ((Scope.QUARANTINE, 50) if is_held else (Scope.OUTPUTS, 60))


@pytest.mark.parametrize("exit_code", [1, 12])
def test_checks_that_fail_in_another_way_are_tried_again_and_then_let_nothing_out(exit_code: int) -> None:
    w = at(Stage.CHECK, limits=Limits(checked=True))
    assert ended(w, Outcome.FAILED, exit_code, "Error").workflow.phase is Phase.CHECK
    d = ended(replace(w, attempt=5), Outcome.FAILED, exit_code, "Error")
    assert (d.workflow.phase, scope(d.workflow)) == (Phase.PUBLISH, Scope.ADMIN_LOGS)
    assert failed_with(d) == (Code.FILTER_REFUSED, "Error")


def test_the_exit_code_of_a_finding_means_nothing_in_another_stage() -> None:
    for stage in (Stage.ALGORITHM, Stage.FILTER):
        w = ended(at(stage, limits=Limits(filtered=True)), Outcome.FAILED, 10).workflow
        assert (w.findings, w.ending is not None) == (Findings.NONE, True)
