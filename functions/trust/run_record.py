"""Everything that proofs are made from: one workflow as it is recorded. Pure; the same record makes the same bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any
from urllib.parse import quote

from msgspec import Struct
from msgspec.structs import asdict

from functions.trust import chain, facts, findings
from functions.trust.decisions import Decision, FileVerdict, Verdict
from functions.workflow.decision import HistoryEntry
from functions.workflow.model import FetchedFile, Manifest, Phase, Record, ResultFile, Stage
from functions.workflow.reported_facts import is_algorithm, of_fetched
from functions.workflow.volume_layout import OUTPUTS

FILTERED = ("removed", "changed", "added")  # the facts of publish about the outputs before and after the filter
ATTESTED = "attested"  # the event of the line that names a signed statement


class Release(StrEnum):
    """What became of the results."""

    PENDING = "pending"  # not known yet
    HELD = "held"
    RELEASED = "released"
    PARTLY = "partly"
    REJECTED = "rejected"
    EXPIRED = "expired"
    REVOKED = "revoked"
    REMOVED = "removed"
    NOTHING = "nothing"  # the workflow failed or was stopped, and no file of it left


class Edition(StrEnum):
    """For whom a crate is: data holders see what was withheld and who asked; the consumer sees what was released."""

    HOLDER = "holder"
    CONSUMER = "consumer"


class RunRecord(Struct, frozen=True, dict=True):
    """One workflow. `origin`: the URL that names the deployment, ending in `/`; `holder`: the data holder's name."""

    record: Record
    history: Sequence[tuple[HistoryEntry, str]]
    origin: str
    holder: str
    software: str  # the version of Sluice
    fetched: Sequence[FetchedFile] = ()
    report: str = ""  # of the disclosure checks, as JSON
    decisions: Sequence[Decision] = ()
    held: Manifest = Manifest()

    @property
    def job(self) -> str:
        return self.record.workflow.id

    @cached_property
    def covered(self) -> Sequence[tuple[HistoryEntry, str]]:
        """The history without the lines at its end that only name statements about it."""
        entries = list(self.history)
        while entries and entries[-1][0].event == ATTESTED:
            entries.pop()
        return entries

    @cached_property
    def lines(self) -> Sequence[Mapping[str, Any]]:
        """The covered history as lines of the chain, with the digest that was stored for each as its successor's."""
        job = self.record.workflow.id
        made, head = [], chain.genesis(job)
        for entry, cause in self.covered:
            made.append(chain.line(job, entry, cause, head))
            head = entry.digest
        return made

    @property
    def head(self) -> str:
        """The digest of the last covered line, as it was stored."""
        return self.covered[-1][0].digest if self.covered else chain.genesis(self.record.workflow.id)

    @property
    def made_at(self) -> datetime:
        """The time that the proof is about: that of the last covered line."""
        return self.covered[-1][0].at if self.covered else self.record.workflow.created_at

    def facts(self, stage: Stage | None = None) -> Mapping[str, str]:
        """The facts of a stage's lines, or of all; the last line that states a fact counts."""
        stated: dict[str, str] = {}
        for entry, _ in self.covered:
            if stage is None or entry.before is Phase(stage):
                stated |= entry.facts
        return stated

    def times(self, stage: Stage) -> tuple[datetime | None, datetime | None]:
        """When the stage first began, and when it last ended."""
        phase = Phase(stage)
        begun = [entry.at for entry, _ in self.covered if entry.after is phase]
        ended = [entry.at for entry, _ in self.covered if entry.before is phase and entry.after is not phase]
        return (begun[0] if begun else None), (ended[-1] if ended else None)

    def succeeded(self, stage: Stage) -> bool:
        """Whether the stage succeeded: the workflow left it without a failure."""
        phase = Phase(stage)
        return any(
            entry.before is phase and entry.after is not phase and not _is_failure(entry) for entry, _ in self.covered
        )

    # --- what came in ---------------------------------------------------------------------------

    @cached_property
    def inputs(self) -> Sequence[FetchedFile]:
        """The files that configure fetched; none if the history has another digest of the list."""
        stated = self.facts(Stage.CONFIGURE)
        genuine = bool(self.fetched) and of_fetched(map(asdict, self.fetched)).items() <= stated.items()
        return [file for file in self.fetched if not is_algorithm(file.path)] if genuine else []

    @property
    def algorithm(self) -> str:
        """The sha256 of the algorithm as it was fetched; empty if that is not known."""
        return self.facts(Stage.CONFIGURE).get("algorithm", "")

    @property
    def filtered(self) -> str:
        """What the operator's filter did to the outputs, in words; empty if that is not recorded."""
        stated = self.facts(Stage.PUBLISH)
        return ", ".join(f"{name} {stated[name]}" for name in FILTERED if name in stated)

    @property
    def guarded(self) -> bool:
        """Whether a filter, checks or a hold guard the results. The consumer then learns less."""
        return self.record.workflow.limits.guarded

    # --- what left ------------------------------------------------------------------------------

    @cached_property
    def release(self) -> Release:
        """What became of the results."""
        workflow = self.record.workflow
        last = [entry.event for entry, _ in self.covered]
        if workflow.removed or workflow.expired:
            return Release.REVOKED if "revoked" in last else Release.REMOVED
        if workflow.phase in (Phase.HELD, Phase.RELEASE):
            return Release.HELD
        if not workflow.finished:
            return Release.PENDING
        endings = {"Rejected": Release.REJECTED, "HoldExpired": Release.EXPIRED}
        if workflow.ending and workflow.ending.reason in endings:
            return endings[workflow.ending.reason]
        if workflow.ending and not (self.record.manifest.files or self.delivered):
            return Release.NOTHING
        return Release.PARTLY if self.withheld else Release.RELEASED

    @cached_property
    def released(self) -> Sequence[ResultFile]:
        """The files that the consumer can have now and whose bytes are known by digest."""
        if self.release in (Release.REVOKED, Release.REMOVED):
            return ()
        return [file for file in self.record.manifest.files if file.sha256 and file.sha512]

    @cached_property
    def delivered(self) -> Sequence[Mapping[str, Any]]:
        """The outputs of a task of TES at the URLs that its client gave: `path` in the container, `sha256`, `size`."""
        return [file for file in facts.delivered(self.record.manifest) if file["sha256"]]

    @cached_property
    def withheld(self) -> Sequence[Mapping[str, Any]]:
        """The files that were written and not released: `path`, and `sha256` and `size` where known."""
        left = {facts.plain(file)["path"] for file in self.record.manifest.files}
        left |= {f"{OUTPUTS}{name}" for each in self.delivered for name in (each["path"], quote(each["path"]))}
        held = [facts.plain(file) for file in self.held.files]
        checked = self.checks
        judged = [{"path": f.path, "sha256": f.sha256, "size": f.size} for f in checked.files] if checked else []
        known = {str(file["path"]): file for file in (*judged, *held)}
        return [file for path, file in sorted(known.items()) if path not in left]

    @cached_property
    def checks(self) -> findings.Report | None:
        """The report of the disclosure checks."""
        return findings.read(self.report) if self.report else None

    def decided_release(self, decision: Decision) -> int:
        """How many files a decision releases."""
        released = [file for file in decision.files if file.verdict is FileVerdict.RELEASE]
        return len(released) if decision.verdict is Verdict.RELEASE else 0


def _is_failure(entry: HistoryEntry) -> bool:
    return entry.after in (Phase.PUBLISH, Phase.FINISHED) and any(
        entry.event.endswith(word) for word in (" failed", " timed out", " stopped", " lost")
    )
