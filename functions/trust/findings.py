"""The findings of the disclosure checks: the report `checks.json`, one entry for each file."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec
from msgspec import Struct

from functions.trust.disclosure import Level

VERSION = 1


class CheckVerdict(StrEnum):
    """The result of all findings, from the best to the worst."""

    PASS = "pass"  # noqa: S105 - a verdict
    REVIEW = "review"
    BLOCK = "block"


class Finding(Struct, frozen=True):
    """One finding of one rule in one file. `text` may quote data: it is for checkers alone."""

    rule: str
    level: Level
    text: str


class CheckedFile(Struct, frozen=True):
    """One file: its path below the volume, its digest and size in bytes, its kind, and what was found."""

    path: str
    sha256: str
    size: int
    kind: str
    verdict: CheckVerdict
    findings: tuple[Finding, ...] = ()


class PolicyVersion(Struct, frozen=True):
    """The policy that was checked."""

    names: tuple[str, ...]
    sha256: str


class Report(Struct, frozen=True):
    """The whole report. `notes`: what could not be looked at whole, such as a sampled input."""

    policy: PolicyVersion
    checker: str
    verdict: CheckVerdict
    files: tuple[CheckedFile, ...] = ()
    notes: tuple[str, ...] = ()
    v: int = VERSION

    @property
    def findings(self) -> int:
        """The number of findings in all files."""
        return sum(len(file.findings) for file in self.files)

    @property
    def blocked(self) -> frozenset[str]:
        """The paths that the checks block."""
        return frozenset(file.path for file in self.files if file.verdict is CheckVerdict.BLOCK)

    def locked(self, held: Mapping[str, str]) -> frozenset[str]:
        """The paths of `held` that no decision can release. `held`: the sha256 of each path.

        A file may leave only if the checks have judged these very bytes under this very name.
        """
        passed = {(file.path, file.sha256) for file in self.files if file.verdict is not CheckVerdict.BLOCK}
        return frozenset(path for path, sha256 in held.items() if (path, sha256) not in passed)


# Prepares the type at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
_REPORT = msgspec.json.Decoder(Report)


def read(text: str | bytes) -> Report:
    """Return a stored report."""
    return _REPORT.decode(text)


def verdict_of(findings: Iterable[Finding]) -> CheckVerdict:
    """Return the worst that the findings say."""
    levels = {finding.level for finding in findings}
    if Level.BLOCK in levels:
        return CheckVerdict.BLOCK
    return CheckVerdict.REVIEW if Level.REVIEW in levels else CheckVerdict.PASS


def worst(files: Iterable[CheckedFile], at_least: CheckVerdict = CheckVerdict.PASS) -> CheckVerdict:
    """Return the worst verdict of all files. `at_least`: REVIEW if something could not be looked at."""
    return max((at_least, *(file.verdict for file in files)), key=list(CheckVerdict).index)
