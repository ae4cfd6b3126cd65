"""What happened in a workflow, as the actions that a crate lists."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from functions.trust.decisions import Verdict
from functions.trust.run_record import Edition, Release, RunRecord
from functions.workflow.model import Phase, Stage


class Action(Struct, frozen=True):
    """One action. `key` makes its id; `kind` and `status` are words of the profile's table."""

    key: str
    kind: str
    name: str
    status: str
    begun: datetime | None = None
    ended: datetime | None = None
    error: str = ""
    person: str = ""  # the address of who did it; empty for our software, and for who asked
    report: str = ""  # the file that it made


def actions(run: RunRecord, edition: Edition) -> list[Action]:
    """Return the actions in the order in which they happened."""
    found = [_sign_off(run), *_fetch(run), _run(run), *_software_checks(run, edition), *_decisions(run)]
    # The consumer learns that a person decided, not who.
    return [replace(each, person="") for each in found] if edition is Edition.CONSUMER else found


def _sign_off(run: RunRecord) -> Action:
    at = run.record.workflow.created_at
    by = "the policy of the data" if run.record.submission.policy else "the environment's terms"
    return Action("sign-off", "sign-off", f"Sign-off by {by}: accepted", "completed", at, at)


def _fetch(run: RunRecord) -> Iterator[Action]:
    begun, ended = run.times(Stage.CONFIGURE)
    if begun is None:
        return
    status = _status(ended, run.succeeded(Stage.CONFIGURE))
    yield Action("fetch", "fetch", "configure: data and algorithm fetched and verified", status, begun, ended)
    name = "Checksums of data and algorithm: recorded"
    yield Action("checksums", "checksums", name, status, begun, ended)


def _run(run: RunRecord) -> Action:
    workflow = run.record.workflow
    begun, ended = run.times(Stage.ALGORITHM)
    name = f"Run {run.job} of the algorithm"
    if ended is None and workflow.finished:
        at = workflow.finished_at
        return Action("run", "run", name, "failed", begun, at, error=_reason(run))
    if begun is None:
        return Action("run", "run", name, "potential")
    status = _status(ended, run.succeeded(Stage.ALGORITHM))
    return Action("run", "run", name, status, begun, ended, error=_reason(run) if status == "failed" else "")


def _reason(run: RunRecord) -> str:
    ending = run.record.workflow.ending
    return ending.reason if ending else "no reason is recorded"


def _software_checks(run: RunRecord, edition: Edition) -> Iterator[Action]:
    begun, ended = run.times(Stage.FILTER)
    if begun is not None:
        status = _status(ended, run.succeeded(Stage.FILTER))
        told = f": {run.filtered}" if edition is Edition.HOLDER and run.filtered else ""
        yield Action("filter", "disclosure", f"Disclosure check by the operator's filter{told}", status, begun, ended)
    begun, ended = run.times(Stage.CHECK)
    if begun is not None:
        found = run.record.workflow.findings.value or "nothing found"
        told = f": {found}" if edition is Edition.HOLDER else ""
        status = "active" if ended is None else "completed"
        name = f"Disclosure check by rules{told}"
        yield Action("check", "disclosure", name, status, begun, ended, report="checks.json")


def _decisions(run: RunRecord) -> Iterator[Action]:
    held = [entry.at for entry, _ in run.covered if entry.after is Phase.HELD]
    if not held:
        return
    for decision in run.decisions:
        rejected = decision.verdict is Verdict.REJECT
        name = f"Disclosure check by a person: {'rejected' if rejected else 'release'}"
        at = datetime.fromisoformat(decision.at)
        status = "failed" if rejected else "completed"
        yield Action(f"decision {decision.by}", "disclosure", name, status, held[0], at, person=decision.by)
    name = "Disclosure check by a person"
    match run.release:
        case Release.HELD:
            yield Action("decision", "disclosure", f"{name}: waits for a decision", "potential")
        case Release.EXPIRED:
            ended = run.record.workflow.finished_at
            yield Action("decision", "disclosure", f"{name}: nobody decided in time", "failed", held[0], ended)
        case Release.REJECTED if not run.decisions:
            ended = run.record.workflow.finished_at
            yield Action("decision", "disclosure", f"{name}: rejected by the operator", "failed", held[0], ended)
        case _:
            pass


def _status(ended: datetime | None, succeeded: bool) -> str:
    if ended is None:
        return "active"
    return "completed" if succeeded else "failed"
