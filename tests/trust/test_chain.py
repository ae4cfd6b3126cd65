"""The chain of history: every edit, removal, swap and truncation is found by whoever knows the head."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from functions.trust import chain
from functions.workflow.decision import HistoryEntry
from functions.workflow.model import Phase, WorkflowId

JOB = WorkflowId("3a4c07d8387b4d4094efdf7469b15745")
AT = datetime(2026, 11, 27, 2, 37, 6, 890000, UTC)
ENTRY = HistoryEntry(1, AT, Phase.QUEUED, Phase.QUEUED, 1, "submitted")


def lines(count: int) -> list[dict[str, Any]]:
    made: list[dict[str, Any]] = []
    head = chain.genesis(JOB)
    for step in range(1, count + 1):
        facts = {"policy": "ab" * 32} if step % 2 else {}
        entry = replace(ENTRY, step=step, at=AT + timedelta(seconds=step), facts=facts)
        made.append(chain.line(JOB, entry, "sweep", head))
        head = chain.digest(made[-1])
    return made


def test_the_first_line_follows_from_the_jobs_own_genesis() -> None:
    assert chain.genesis(JOB) == "f1fc4b5a54199ab643fbc788334877a9da422346ab45aac4c48ed699fdf25e7b"
    assert chain.verify(JOB, []) == chain.genesis(JOB)
    assert lines(1)[0]["prev"] == chain.genesis(JOB)


def test_a_time_is_spelled_in_utc_with_six_digits() -> None:
    assert chain.spell_time(AT) == "2026-11-27T02:37:06.890000Z"
    assert chain.spell_time(AT.astimezone(timezone(timedelta(hours=5)))) == "2026-11-27T02:37:06.890000Z"
    assert chain.spell_time(AT.replace(microsecond=0)) == "2026-11-27T02:37:06.000000Z"


def test_whole_lines_lead_to_the_head() -> None:
    made = lines(5)
    assert chain.verify(JOB, made) == chain.digest(made[-1])


def intact(changed: list[dict[str, Any]], head: str) -> bool:
    """What somebody who knows the head finds."""
    try:
        return chain.verify(JOB, changed) == head
    except chain.ChainBroken:
        return False


@given(st.integers(2, 8), st.data())
def test_every_edit_removal_swap_and_truncation_is_found(count: int, data: st.DataObject) -> None:
    made = lines(count)
    head = chain.verify(JOB, made)
    changed = copy.deepcopy(made)
    place = data.draw(st.integers(0, count - 1))
    match data.draw(st.sampled_from(["edit", "remove", "swap", "cut", "insert", "facts"])):
        case "edit":
            name = data.draw(st.sampled_from(sorted(made[place])))
            changed[place][name] = "tampered"
        case "remove":
            del changed[place]
        case "swap":
            other = (place + 1) % count
            changed[place], changed[other] = changed[other], changed[place]
        case "cut":
            del changed[place:]
        case "insert":
            changed.insert(place, changed[place])
        case "facts":
            changed[place]["facts"] = {"policy": "cd" * 32}
    assert not intact(changed, head)


def test_lines_of_another_job_are_refused() -> None:
    with pytest.raises(chain.ChainBroken, match="belongs to the workflow"):
        chain.verify(WorkflowId("other"), lines(1))


def test_a_guess_cannot_be_tested_without_the_salt() -> None:
    owner = "0x57dcc9a0bd9a5617c62eb45a14dec8871f87e0c9"
    assert chain.salted(b"a" * 32, owner) != chain.salted(b"b" * 32, owner)
    assert chain.salted(b"a" * 32, owner) == chain.salted(b"a" * 32, owner)
