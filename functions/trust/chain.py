"""The hash-chained history: each line of a workflow's history names the digest of the line before.

The head is the digest of the last line. A line that is edited, removed, added or swapped changes it.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from msgspec.structs import replace

from functions.trust import canonical
from functions.workflow.decision import Decision, HistoryEntry
from functions.workflow.model import Workflow, WorkflowId

VERSION = 1
_GENESIS = b"sluice/history/v1\n"
MAX_CAUSE = 255  # characters; an event's id may have any length
# Who caused a line: an Ethereum address, or another name that the caller marks as a person's.
_PERSON = re.compile("0x[0-9a-fA-F]{40}|user:.+", re.DOTALL)
PERSON = "user:"
_KEYED = "person:"


class ChainBroken(ValueError):
    """The lines are not one unbroken chain; `step` is the first that does not fit."""

    def __init__(self, step: int, why: str) -> None:
        super().__init__(f"line {step}: {why}")
        self.step = step


def genesis(job: WorkflowId) -> str:
    """Return what the first line of a workflow names as the line before it."""
    return hashlib.sha256(_GENESIS + job.encode()).hexdigest()


def seal(decision: Decision, cause: str) -> Decision:
    """Return the decision with its lines chained to the workflow's head, which becomes the last line's digest."""
    workflow = decision.workflow
    head = workflow.head or genesis(workflow.id)
    sealed = []
    for entry in decision.lines:
        values = line(workflow.id, entry, cause, head)
        head = digest(values)
        sealed.append(replace(entry, reason=values["reason"], digest=head))
    if not sealed:
        return decision
    return replace(decision, workflow=replace(workflow, head=head), lines=tuple(sealed))


def line(job: WorkflowId, entry: HistoryEntry, cause: str, previous: str) -> dict[str, Any]:
    """Return one history entry as a line of the chain. `previous` is the digest of the line before.

    Its facts are digests and counts, never contents: the chain outlives the deletion of what they stand for.
    """
    values: dict[str, Any] = {
        "v": VERSION,
        "job": job,
        "step": entry.step,
        "at": spell_time(entry.at),
        "before": entry.before.value,
        "after": entry.after.value,
        "status": int(entry.status),
        "event": entry.event,
        "reason": canonical.storable(entry.reason),
        "attempt": entry.attempt,
        "cause": cause,
        "prev": previous,
    }
    if entry.facts:
        values["facts"] = dict(entry.facts)
    return values


def digest(values: Mapping[str, Any]) -> str:
    """Return the digest of one line, 64 hex digits: what the next line names as `prev`."""
    return canonical.digest(dict(values))


def verify(job: WorkflowId, lines: Iterable[Mapping[str, Any]]) -> str:
    """Return the head of a workflow's lines; the genesis if there are none. Raises ChainBroken.

    Lines missing at the end are not noticed here. Compare the head with one that is known from elsewhere.
    """
    head = genesis(job)
    for step, values in enumerate(lines, start=1):
        if values.get("job") != job:
            raise ChainBroken(step, f"it belongs to the workflow {values.get('job')!r}")
        if values.get("step") != step:
            raise ChainBroken(step, f"it says that it is line {values.get('step')!r}")
        if values.get("prev") != head:
            raise ChainBroken(step, "it does not follow from the line before")
        try:
            head = digest(values)
        except canonical.NotCanonical as e:
            raise ChainBroken(step, str(e)) from None
    return head


def spell_time(at: datetime) -> str:
    """Return a time as the chain spells it: UTC, always six digits of a second, `Z`."""
    return f"{at.astimezone(UTC).isoformat(timespec='microseconds')[:-6]}Z"


def salted(salt: bytes, value: Any) -> str:
    """Return the keyed digest of something guessable, such as an owner. Nobody can test a guess without the salt."""
    return keyed(salt, canonical.encode(value))


def keyed(salt: bytes, content: bytes) -> str:
    """Return the keyed digest of bytes, 64 hex digits."""
    return hmac.new(salt, content, hashlib.sha256).hexdigest()


def recorded_cause(workflow: Workflow, cause: str) -> str:
    """Return a cause as the history keeps it: a person only as a salted digest, so that it can be forgotten."""
    if workflow.salt and _PERSON.fullmatch(cause):
        return _keyed_name(workflow, cause)
    return canonical.storable(cause)[:MAX_CAUSE]


def named_cause(workflow: Workflow, cause: str, known: Iterable[str]) -> str:
    """Return a recorded cause with the person's name, if it is one of those that are known."""
    if not workflow.salt or not cause.startswith(_KEYED):
        return cause
    return next((name for name in known if _keyed_name(workflow, name) == cause), cause)


def _keyed_name(workflow: Workflow, name: str) -> str:
    return f"{_KEYED}{salted(bytes.fromhex(workflow.salt), name.removeprefix(PERSON).lower())}"
