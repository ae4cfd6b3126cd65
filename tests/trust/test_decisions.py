"""What a decision must be to count, and what several of them come to."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs
from msgspec.structs import replace

from functions import ethereum
from functions.trust import decisions
from functions.trust.decisions import DecidedFile, Decision, DecisionRefused, FileVerdict, Held, State, Verdict
from functions.trust.policy import Approval

KEYS = ["0x" + f"{n:02x}" * 32 for n in (0x11, 0x22, 0x33, 0x44)]
ANNA, BEN, CARL, STRANGER = (ethereum.address(key).lower() for key in KEYS)
KEY_OF = dict(zip((ANNA, BEN, CARL, STRANGER), KEYS, strict=True))
JOB, HEAD = "3a4c07d8387b4d4094efdf7469b15745", "1f" * 32
FILES = {"outputs/statistics.csv": "da" * 32, "outputs/penguins.svg": "d4" * 32}
HELD = Held(JOB, HEAD, FILES, frozenset(), (Approval(checkers=(ANNA, BEN), needed=2),), frozenset({CARL}))

VECTOR = {
    "at": "2026-11-27T02:40:00.000000Z",
    "by": "0x19e7e376e7c213b7e7e7e46cc70a5dd086daff2a",
    "files": [
        {
            "path": "outputs/statistics.csv",
            "sha256": "daa8297b69955a32a14faecba04c1a0936b33ae316158b60038ab91ea8c2767a",
            "verdict": "release",
        },
        {
            "path": "outputs/penguins.svg",
            "sha256": "d45dee682c38f6aa01476f56ca257b5bd3825e24735f5726a7d3ee9d5b156b33",
            "verdict": "withhold",
        },
    ],
    "head": "1ffd95a7caa951625da16ac8c00302aef63f1f5a91977baa321db7aa61a2771c",
    "job": JOB,
    "nonce": "1795747200000000000",
    "reason": "counts above 10",
    "v": 1,
    "verdict": "release",
}
SIGNATURE = (
    "0xc323045060a42ebd3271faa5ff1da7b0fd72d6b2aeb8345967205da46ce1e5af4"
    "245c8d7931c940e54e2aa60ca8c713fe22eaa24b3dfdb0add8fd7a7ee99240f01"
)


def decision(by: str = ANNA, verdict: Verdict = Verdict.RELEASE, **withheld: bool) -> Decision:
    """Release every file but those whose name (without folder and ending) is given."""
    files = tuple(
        DecidedFile(path, sha256, FileVerdict.WITHHOLD if withheld.get(path[8:-4]) else FileVerdict.RELEASE)
        for path, sha256 in FILES.items()
    )
    return Decision(1, JOB, HEAD, verdict, files, "", by, "2026-11-27T02:40:00.000000Z", "1")


def check(made: Decision, held: Held = HELD, earlier: tuple[Decision, ...] = (), key: str = "") -> None:
    decisions.check(made, ethereum.sign_text(key or KEY_OF[made.by], made.text), held, earlier)


def test_the_known_vector_verifies() -> None:
    made = decisions.parse(VECTOR)
    assert ethereum.sign_text(KEYS[0], made.text) == SIGNATURE
    files = {str(each["path"]): str(each["sha256"]) for each in VECTOR["files"]}  # type: ignore[attr-defined]
    decisions.check(made, SIGNATURE, replace(HELD, head=made.head, files=files), ())


def test_a_checkers_decision_counts() -> None:
    check(decision())
    check(decision(BEN, Verdict.REJECT), earlier=(decision(),))


@pytest.mark.parametrize(
    ("made", "held", "earlier", "key", "why"),
    [
        (decision(), HELD, (), KEYS[1], "not that of the address"),
        (structs.replace(decision(), job="other"), HELD, (), "", "about the job other"),
        (structs.replace(decision(), head="00" * 32), HELD, (), "", "earlier state"),
        (decision(STRANGER), HELD, (), "", "not a checker"),
        (decision(), replace(HELD, submitters=frozenset({ANNA})), (), "", "submitted this job"),
        (decision(), replace(HELD, submitters=frozenset({ANNA[2:].upper()})), (), "", "submitted this job"),
        (decision(), replace(HELD, submitters=frozenset({"0X" + ANNA[2:].upper()})), (), "", "submitted this job"),
        (decision(), HELD, (decision(),), "", "has decided already"),
        (decision(), replace(HELD, blocked=frozenset({"outputs/penguins.svg"})), (), "", "the checks block"),
        (decision(), replace(HELD, files={**FILES, "outputs/more.txt": "00" * 32}), (), "", "undecided"),
        (decision(), replace(HELD, files={**FILES, "outputs/penguins.svg": "00" * 32}), (), "", "other bytes"),
        (decision(), replace(HELD, files={"outputs/penguins.svg": "d4" * 32}), (), "", "is not held"),
        (structs.replace(decision(), files=decision().files * 2), HELD, (), "", "twice"),
    ],
)
def test_a_decision_that_does_not_count_says_why(
    made: Decision, held: Held, earlier: tuple[Decision, ...], key: str, why: str
) -> None:
    with pytest.raises(DecisionRefused, match=why):
        check(made, held, earlier, key)


@pytest.mark.parametrize(
    "change",
    [
        {"at": "yesterday"},
        {"at": "2026-11-27T02:40:00Z" + "0" * 1000},
        {"v": 2},
        {"more": 1},
        {"verdict": "maybe"},
        {"by": ANNA.upper()},
        {"files": None},
        {"reason": "x" * 1001},
        {"reason": "\ud800"},
        {"nonce": 1},
    ],
)
def test_a_malformed_decision_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(DecisionRefused, match="malformed"):
        decisions.parse({**VECTOR, **change})


def test_a_changed_word_makes_another_signature() -> None:
    made = decision()
    signature = ethereum.sign_text(KEYS[0], made.text)
    with pytest.raises(DecisionRefused, match="not that of the address"):
        decisions.check(structs.replace(made, reason="another"), signature, HELD, ())


def test_two_persons_release_and_one_alone_does_not() -> None:
    assert decisions.result(HELD.approvals, [decision()]).state is State.PENDING
    assert decisions.result(HELD.approvals, [decision(), decision(BEN)]).released == tuple(sorted(FILES))


def test_a_disagreement_withholds_the_file() -> None:
    ended = decisions.result(HELD.approvals, [decision(), decision(BEN, penguins=True)])
    assert (ended.state, ended.released) == (State.RELEASED, ("outputs/statistics.csv",))


def test_one_rejection_rejects() -> None:
    both = [decision(), decision(BEN, Verdict.REJECT)]
    assert decisions.result(HELD.approvals, both).state is State.REJECTED


persons = st.sampled_from([ANNA, BEN, CARL, STRANGER])
approvals = st.builds(
    Approval, checkers=st.lists(persons, unique=True, min_size=1).map(tuple), needed=st.integers(1, 3)
)


@given(st.lists(approvals, min_size=1, max_size=3), st.lists(st.tuples(persons, st.sampled_from(Verdict)), max_size=4))
def test_nothing_is_released_unless_every_data_sets_checkers_agreed(
    needed: list[Approval], made: list[tuple[str, Verdict]]
) -> None:
    given_decisions = [decision(by, verdict) for by, verdict in dict(made).items()]
    ended = decisions.result(needed, given_decisions)
    agreed = {each.by for each in given_decisions if each.verdict is Verdict.RELEASE}
    if ended.state is State.RELEASED:
        assert all(each.verdict is Verdict.RELEASE for each in given_decisions)
        assert all(len(agreed & set(each.checkers)) >= each.needed for each in needed)
    assert decisions.result(needed, given_decisions[::-1]) == ended
