"""Which algorithms a policy lets run, before and after their bytes are known."""

from __future__ import annotations

import hashlib
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from functions.trust.admission import candidate
from functions.trust.allow_list import Candidate, pinned_image, refusal
from functions.trust.policy import AllowedAlgorithm, Policy, WrittenPolicy, merge, of_written
from functions.workflow.document import parse

TODAY = date(2026, 11, 27)
SHA, IMAGE, ENTRY = "a4" * 32, "sha256:" + "1d" * 32, "python3 $ALGO"
KNOWN = Candidate("did:op:sizes", IMAGE, ENTRY, (SHA,))
SECTION = hashlib.sha256((ENTRY + IMAGE).encode()).hexdigest()


def why(candidate: Candidate, *entries: AllowedAlgorithm, raw_code: bool = True, custom_data: bool = True) -> str:
    written = WrittenPolicy(id="p", algorithms=entries, raw_code=raw_code, custom_data=custom_data)
    found = refusal(of_written(written), candidate, TODAY)
    return found.text if found else ""


@pytest.mark.parametrize(
    "entry",
    [
        AllowedAlgorithm(sha256=SHA),
        AllowedAlgorithm(sha256=f"sha256:{SHA.upper()}"),
        AllowedAlgorithm(files_checksum=SHA),
        AllowedAlgorithm(image=IMAGE),
        AllowedAlgorithm(did="did:op:sizes", sha256=SHA, image=IMAGE, entrypoint=ENTRY),
        AllowedAlgorithm(did="did:op:sizes", files_checksum=SHA, container_section_checksum=SECTION, service_id="1"),
        AllowedAlgorithm(sha256=SHA, until=TODAY),
    ],
)
def test_an_algorithm_runs_where_every_given_field_of_an_entry_fits(entry: AllowedAlgorithm) -> None:
    assert why(KNOWN, entry) == ""
    assert why(KNOWN, AllowedAlgorithm(sha256="00" * 32), entry) == ""


@pytest.mark.parametrize(
    "entry",
    [
        AllowedAlgorithm(sha256="00" * 32),
        AllowedAlgorithm(sha256=SHA, did="did:op:other"),
        AllowedAlgorithm(sha256=SHA, image="sha256:" + "00" * 32),
        AllowedAlgorithm(sha256=SHA, entrypoint="sh -c"),
        AllowedAlgorithm(sha256=SHA, container_section_checksum="00" * 32),
        AllowedAlgorithm(files_checksum=SHA * 2),
    ],
)
def test_an_algorithm_that_differs_in_one_field_is_refused(entry: AllowedAlgorithm) -> None:
    assert "does not list this algorithm" in why(KNOWN, entry)
    assert SHA in why(KNOWN, entry)


def test_several_files_are_compared_as_ocean_writes_them() -> None:
    two = replace(KNOWN, files=("aa" * 32, "bb" * 32))
    assert why(two, AllowedAlgorithm(files_checksum="AA" * 32 + "bb" * 32)) == ""
    assert why(two, AllowedAlgorithm(sha256="aa" * 32)) != ""


def test_what_is_not_fetched_yet_passes_the_door_and_an_image_by_tag_does_not() -> None:
    unfetched = replace(KNOWN, files=None)
    assert why(unfetched, AllowedAlgorithm(sha256="00" * 32)) == ""
    assert "by digest" in why(replace(unfetched, image=""), AllowedAlgorithm(sha256=SHA, image=IMAGE))


def test_an_entry_ends_with_its_last_day() -> None:
    assert "until 2026-11-26" in why(KNOWN, AllowedAlgorithm(sha256=SHA, until=date(2026, 11, 26)))


def test_an_empty_list_allows_nothing() -> None:
    assert "does not list" in why(KNOWN)


def test_code_of_the_request_runs_only_if_its_bytes_are_listed() -> None:
    raw = replace(KNOWN, raw=True)
    assert why(raw, AllowedAlgorithm(sha256=SHA), raw_code=False) == ""
    assert "sha256 of this code" in why(raw, AllowedAlgorithm(image=IMAGE), raw_code=False)
    closed = of_written(WrittenPolicy(id="p", raw_code=False))
    assert refusal(closed, raw, TODAY) is not None
    assert refusal(closed, KNOWN, TODAY) is None


def test_data_of_the_consumers_own_are_refused_where_the_policy_says_so() -> None:
    custom = replace(KNOWN, custom=True)
    assert "data of the consumer's own" in why(custom, AllowedAlgorithm(sha256=SHA), custom_data=False)
    assert why(custom, AllowedAlgorithm(sha256=SHA)) == ""


def test_where_two_data_sets_meet_both_must_list_it() -> None:
    one = of_written(WrittenPolicy(id="one", algorithms=(AllowedAlgorithm(sha256=SHA),)))
    other = of_written(WrittenPolicy(id="other", algorithms=(AllowedAlgorithm(sha256="b5" * 32),)))
    assert refusal(one, KNOWN, TODAY) is None
    assert refusal(merge(one, other), KNOWN, TODAY) is not None


SHAS, IMAGES = (SHA, "b5" * 32), (IMAGE, "sha256:" + "2e" * 32)
entries = st.builds(
    AllowedAlgorithm,
    did=st.sampled_from(["", "did:op:sizes"]),
    sha256=st.sampled_from([None, *SHAS]),
    image=st.sampled_from([None, *IMAGES]),
    entrypoint=st.sampled_from([None, ENTRY]),
    until=st.sampled_from([None, date(2026, 11, 26), date(2027, 1, 1)]),
)
policies = st.builds(
    WrittenPolicy,
    id=st.sampled_from(["one", "two"]),
    algorithms=st.none() | st.lists(entries, max_size=2).map(tuple),
    publisher_trusted_algorithms=st.none() | st.lists(entries, max_size=1).map(tuple),
    raw_code=st.booleans(),
    custom_data=st.booleans(),
).map(of_written)
candidates = st.builds(
    Candidate,
    did=st.sampled_from(["", "did:op:sizes"]),
    image=st.sampled_from(["", *IMAGES]),
    entrypoint=st.sampled_from([ENTRY, "sh"]),
    files=st.sampled_from([None, *((sha,) for sha in SHAS)]),
    raw=st.booleans(),
    custom=st.booleans(),
)


@given(policies, policies, policies, candidates)
def test_what_one_data_set_refuses_no_other_can_allow(one: Policy, two: Policy, three: Policy, c: Candidate) -> None:
    together = refusal(merge(merge(one, two), three), c, TODAY)
    for part in (one, two, three, merge(one, three)):
        if refusal(part, c, TODAY) is not None:
            assert together is not None
        if pinned := pinned_image(part, c):
            assert together is not None or pinned_image(merge(merge(one, two), three), c) == pinned


def test_the_list_of_another_data_set_does_not_vouch_for_code_of_the_request() -> None:
    closed = of_written(WrittenPolicy(id="closed", raw_code=False))
    listing = of_written(WrittenPolicy(id="open", algorithms=(AllowedAlgorithm(sha256=SHA),)))
    raw = replace(KNOWN, raw=True)
    assert refusal(listing, raw, TODAY) is None
    assert refusal(merge(closed, listing), raw, TODAY) is not None


def test_an_entry_whose_last_day_is_over_does_not_vouch_for_code_of_the_request() -> None:
    over = AllowedAlgorithm(sha256=SHA, until=date(2026, 11, 26))
    assert "sha256 of this code" in why(replace(KNOWN, raw=True), over, AllowedAlgorithm(image=IMAGE), raw_code=False)


@pytest.mark.parametrize(
    "checksum", [IMAGE.upper(), f"SHA256:{IMAGE[7:]}", IMAGE[7:], f" {IMAGE}", f"sha256-{IMAGE[7:]}"]
)
def test_an_image_counts_as_named_by_digest_only_if_it_is_pulled_by_it(checksum: str) -> None:
    stage = {
        "algorithm": {"container": {"entrypoint": ENTRY, "image": "evil", "checksum": checksum}, "rawcode": "x"},
        "compute": {},
        "input": [],
        "output": {},
    }
    found = candidate(parse({"stages": [stage]}))
    assert found.image == ""
    assert "by digest" in why(replace(found, files=None), AllowedAlgorithm(image=IMAGE))
