"""Decisions about held results: their signed form, the rules by which one counts, and the outcome of several. Pure.

A checker signs the canonical JSON of the decision with a wallet's key (EIP-191). It names each file by its sha256, and
the `head` of the history at the moment the results were held: an old page cannot approve a new state.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from functions import ethereum
from functions.trust import canonical
from functions.trust.policy import Approval

MAX_FILES = 10_000
MAX_REASON = 1000
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z")
_Sha256 = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}$")]


class DecisionRefused(ValueError):
    """The decision does not count; the text says why."""


class FileVerdict(StrEnum):
    """The decision about one file."""

    RELEASE = "release"
    WITHHOLD = "withhold"


class Verdict(StrEnum):
    """The decision about the results as a whole."""

    RELEASE = "release"
    REJECT = "reject"


class DecidedFile(Struct, frozen=True, forbid_unknown_fields=True):
    """One file of the held results: its path, the sha256 of its plain bytes, and what becomes of it."""

    path: str
    sha256: _Sha256
    verdict: FileVerdict


class Decision(Struct, frozen=True, forbid_unknown_fields=True):
    """The signed content. `by` is the address of the key, `at` the checker's clock, `nonce` is used once."""

    v: Annotated[int, Meta(ge=1, le=1)]
    job: str
    head: _Sha256
    verdict: Verdict
    files: Annotated[tuple[DecidedFile, ...], Meta(max_length=MAX_FILES)]
    reason: Annotated[str, Meta(max_length=MAX_REASON)]
    by: Annotated[str, Meta(pattern=r"^0x[0-9a-f]{40}$")]
    at: str
    nonce: Annotated[str, Meta(pattern=r"^[0-9]{1,30}$")]

    @property
    def text(self) -> str:
        """The canonical JSON, which is signed."""
        return canonical.encode(msgspec.to_builtins(self)).decode()

    @property
    def digest(self) -> str:
        """The sha256 of the signed text: the decision's name in the history."""
        return canonical.digest(msgspec.to_builtins(self))


class Held(Struct, frozen=True):
    """The held results, as a decision is compared with them."""

    job: str
    head: str
    files: Mapping[str, str]  # the sha256 of each path
    blocked: frozenset[str]  # paths that no decision can release: the checks block them, or have not seen these bytes
    approvals: tuple[Approval, ...]
    submitters: frozenset[str]  # addresses in any spelling: owner, provider


# Prepares the type at import, in one thread: msgspec crashes if two threads prepare one type at the same time.
_DECISION = msgspec.json.Decoder(Decision)


def read_all(texts: Iterable[str]) -> list[Decision]:
    """Return stored decisions, which were checked when they came."""
    return [_DECISION.decode(text) for text in texts]


def parse(value: Any) -> Decision:
    """Return the decision that a request carries. Raises DecisionRefused, which names the place."""
    try:
        decision = msgspec.convert(value, Decision)
    except msgspec.ValidationError as e:
        raise DecisionRefused(f"the decision is malformed: {e}") from None
    if not _TIME.fullmatch(decision.at):
        raise DecisionRefused("the decision is malformed: expected a time such as 2026-11-27T02:40:00Z - at `$.at`")
    try:
        canonical.encode(msgspec.to_builtins(decision))
    except canonical.NotCanonical as e:
        raise DecisionRefused(f"the decision is malformed: {e}") from None
    return decision


def check(decision: Decision, signature: str, held: Held, earlier: Sequence[Decision]) -> None:
    """Return if the decision counts. Raises DecisionRefused. `earlier` are those that count already."""
    _check_signature(decision, signature)
    if decision.job != held.job:
        raise DecisionRefused(f"the decision is about the job {decision.job}, not {held.job}")
    if decision.head != held.head:
        raise DecisionRefused("the decision is about an earlier state of this job; look at it again, then sign")
    checkers = {address for approval in held.approvals for address in approval.checkers}
    if decision.by not in checkers:
        raise DecisionRefused(f"{decision.by} is not a checker of these data")
    if ethereum.comparable(decision.by) in map(ethereum.comparable, held.submitters):
        raise DecisionRefused(f"{decision.by} submitted this job and cannot decide about it")
    if any(each.by == decision.by for each in earlier):
        raise DecisionRefused(f"{decision.by} has decided already")
    if decision.verdict is Verdict.RELEASE:
        _check_files(decision, held)


def _check_signature(decision: Decision, signature: str) -> None:
    try:
        signer = ethereum.recover_text(decision.text, signature)
    except ValueError as e:
        raise DecisionRefused(f"the signature is malformed: {e}") from None
    if signer != decision.by:
        raise DecisionRefused("the signature is not that of the address in `by`")


def _check_files(decision: Decision, held: Held) -> None:
    decided = {file.path: file for file in decision.files}
    if len(decided) != len(decision.files):
        raise DecisionRefused("the decision names a file twice")
    for path, sha256 in held.files.items():
        if path not in decided:
            raise DecisionRefused(f"the decision says nothing about {path}; nothing may stay undecided")
        if decided[path].sha256 != sha256:
            raise DecisionRefused(f"the decision is about other bytes of {path} than those that are held")
    if unknown := sorted(decided.keys() - held.files.keys()):
        raise DecisionRefused(f"the decision names {unknown[0]}, which is not held")
    for file in decision.files:
        if file.verdict is FileVerdict.RELEASE and file.path in held.blocked:
            raise DecisionRefused(f"the checks block {file.path}; it cannot be released")


class State(StrEnum):
    """The state of a job's results after the decisions so far."""

    PENDING = "pending"
    RELEASED = "released"
    REJECTED = "rejected"


class Result(Struct, frozen=True):
    """The outcome of the decisions about one job. `released`: paths that every decision releases."""

    state: State
    given: int  # how many persons have agreed to release
    needed: int  # how many must, at the least
    released: tuple[str, ...] = ()


def result(approvals: Sequence[Approval], decisions: Sequence[Decision]) -> Result:
    """Return the outcome of the decisions that count. One rejects; each approval must be met to release.

    Where two persons disagree about a file, it is withheld.
    """
    agreed = {each.by for each in decisions if each.verdict is Verdict.RELEASE}
    needed = max((approval.needed for approval in approvals), default=1)
    if any(each.verdict is Verdict.REJECT for each in decisions):
        return Result(State.REJECTED, len(agreed), needed)
    met = all(len(agreed & set(approval.checkers)) >= approval.needed for approval in approvals)
    if not agreed or not met:
        return Result(State.PENDING, len(agreed), needed)
    released = [
        {file.path for file in each.files if file.verdict is FileVerdict.RELEASE}
        for each in decisions
        if each.verdict is Verdict.RELEASE
    ]
    return Result(State.RELEASED, len(agreed), needed, tuple(sorted(set.intersection(*released))))
