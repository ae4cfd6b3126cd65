"""Policies: which one counts for which data, and that several together are never looser than one of them."""

from __future__ import annotations

from datetime import date
from functools import reduce
from itertools import permutations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.trust import disclosure, policy
from functions.trust.admission import data_sets
from functions.trust.disclosure import Checks, Level
from functions.trust.policy import AllowedAlgorithm, Checker, Policies, Policy, Runs, WrittenPolicy, merge
from functions.workflow.model import Hold
from functions.workflow.tes_checks import accept

A, B, C = ("0x" + f"{n:040x}" for n in (1, 2, 3))
SHA = "a4" * 32


some = st.sampled_from
algorithms = st.builds(
    AllowedAlgorithm, sha256=some(["a4" * 32, "b5" * 32, "c6" * 32]), until=some([None, date(2027, 6, 30)])
)
rules = {
    "names": st.builds(disclosure.Names, level=some(Level), allow=some([None, (), ("a.csv",), ("b.csv", "a.csv")])),
    "cells": st.builds(disclosure.Cells, level=some(Level), threshold=some([0, 5, 10]), zeros=st.booleans()),
    "size": st.builds(disclosure.Size, max_files=some([1, 50])),
    "columns": st.builds(disclosure.Columns, identifiers=some([(), ("a",), ("b", "a")])),
    "models": st.builds(disclosure.Models, level=some(Level), allow=some([(), ("m.pkl",)])),
}
checks = st.none() | st.builds(Checks, **rules)
checkers = st.lists(st.builds(Checker, name=some(["one", "two"]), address=some([A, B, C])), min_size=1, max_size=3)
written = st.builds(
    WrittenPolicy,
    id=some(["penguins", "whales", "seals"]),
    algorithms=st.none() | st.lists(algorithms, max_size=3).map(tuple),
    raw_code=st.booleans(),
    custom_data=st.booleans(),
    hold=some(Hold),
    approvals=st.integers(1, 3),
    checkers=checkers.map(tuple),
    hold_seconds=some([60, 3600]),
    runs=st.none() | st.builds(Runs, per_owner=some([1, 20]), days=some([1, 30])),
    checks=checks,
)
policies = written.map(policy.of_written)


@given(policies, policies)
def test_the_order_of_two_policies_does_not_matter(one: Policy, other: Policy) -> None:
    assert merge(one, other) == merge(other, one)


@given(policies, policies, policies)
def test_the_grouping_of_three_policies_does_not_matter(one: Policy, two: Policy, three: Policy) -> None:
    assert merge(merge(one, two), three) == merge(one, merge(two, three))
    assert len({policy.digest(reduce(merge, order)) for order in permutations([one, two, three])}) == 1


@given(policies)
def test_a_policy_twice_is_the_policy_once_and_no_policy_adds_nothing(one: Policy) -> None:
    assert merge(one, one) == one
    assert merge(one, policy.NO_POLICY) == one


@given(policies, policies)
def test_two_policies_together_are_never_looser_than_one_of_them(one: Policy, other: Policy) -> None:
    both = merge(one, other)
    order = list(Hold)
    for part in (one, other):
        assert set(part.algorithms) <= set(both.algorithms)
        assert set(part.approvals) <= set(both.approvals)
        assert set(part.budgets) <= set(both.budgets)
        assert order.index(both.hold) >= order.index(part.hold)
        assert both.raw_code <= part.raw_code
        assert both.custom_data <= part.custom_data
        if part.hold_seconds is not None:
            assert both.hold_seconds is not None
            assert both.hold_seconds <= part.hold_seconds
        if part.checks is not None:
            assert both.checks is not None
            assert_at_least_as_strict(both.checks, part.checks)


def assert_at_least_as_strict(both: Checks, part: Checks) -> None:
    order = list(Level)
    for field in Checks.__struct_fields__:
        strict, loose = getattr(both, field), getattr(part, field)
        assert order.index(strict.level) >= order.index(loose.level)
        if loose.level is Level.OFF:
            continue
        for name in loose.__struct_fields__:
            ours, theirs = getattr(strict, name), getattr(loose, name)
            match name:
                case "level":
                    pass
                case "allow":
                    assert theirs is None or (ours is not None and set(ours) <= set(theirs))
                case "identifiers" | "columns":
                    assert set(ours) >= set(theirs)
                case "threshold" | "zeros":
                    assert ours >= theirs
                case _:
                    assert ours <= theirs


def test_every_setting_of_every_rule_has_a_stricter_side() -> None:
    whole = Checks()
    assert disclosure.merge(whole, whole) == whole


PENGUINS = WrittenPolicy(id="penguins", data=("did:op:penguins", "https://data.example.org/penguins"), raw_code=False)
WHALES = WrittenPolicy(id="whales", data=("did:op:whales",), hold=Hold.ALWAYS, checkers=(Checker(name="a", address=A),))
STRICT = WrittenPolicy(id="strict", custom_data=False)
KNOWN = Policies((PENGUINS, WHALES, STRICT))


@pytest.mark.parametrize(
    ("data", "default", "expected"),
    [
        ((), "", ()),
        (("did:op:unknown",), "", ()),
        (("did:op:unknown",), "strict", ("strict",)),
        ((), "strict", ("strict",)),
        (("did:op:penguins",), "strict", ("penguins",)),
        (("did:op:penguins", "did:op:whales"), "", ("penguins", "whales")),
        (("did:op:penguins", "did:op:unknown"), "strict", ("penguins", "strict")),
        (("did:op:PENGUINS",), "strict", ("penguins",)),
        (("https://data.example.org/penguins/2007.csv",), "", ("penguins",)),
        (("https://data.example.org/penguins",), "", ("penguins",)),
        (("https://data.example.org/penguins-and-whales",), "", ()),
        (("did:op:penguins-2007",), "", ()),
    ],
)
def test_the_policy_of_a_workflow_is_that_of_its_data(
    data: tuple[str, ...], default: str, expected: tuple[str, ...]
) -> None:
    assert KNOWN.for_workflow([(name,) for name in data], default).names == expected


@pytest.mark.parametrize(
    "url",
    [
        "HTTPS://Data.Example.org/penguins/a.csv",
        "https://data.example.org:443/penguins/a.csv",
        "https://data.example.org./penguins/a.csv",
        "https://data.example.org/%70enguins/a.csv",
        "https://data.example.org/whales/../penguins/a.csv",
        "https://data.example.org//penguins//a.csv",
        "https://user:secret@data.example.org/penguins/a.csv?x=1",
        "https://d%61ta.example.org/penguins/a.csv",
        "https://\uff44ata.example.org/penguins/a.csv",
        "https://data\u3002example.org/penguins/a.csv",
        "https://DATA.EXAMPLE.ORG../penguins/a.csv",
        "https://data.example.org:0443/penguins/./a.csv",
    ],
)
def test_another_spelling_of_a_url_does_not_escape_its_policy(url: str) -> None:
    assert KNOWN.for_workflow([("did:op:unknown", url)]).names == ("penguins",)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("file:///srv/data/", "file://localhost/srv/data/a.csv"),
        ("file:///srv/data/", "file://elsewhere:no-port/srv/data/a.csv"),
        ("s3://bucket/data/", "s3://bucket:80/data/a.csv"),
        ("s3://bucket/data/", "S3://bucket:no-port/data/a.csv"),
        ("gs://bucket/data/", "gs://bucket:/data/a.csv"),
    ],
)
def test_a_part_of_a_url_that_storages_ignore_does_not_escape_the_policy(entry: str, url: str) -> None:
    known = Policies((WrittenPolicy(id="p", data=(entry,), raw_code=False),))
    assert known.for_workflow([("did:op:unknown", url)]).names == ("p",)


@pytest.mark.parametrize(
    ("entry", "url"),
    [
        ("http://93.184.216.34/data/", "http://1572395042/data/a.csv"),
        ("http://93.184.216.34/data/", "http://0x5D.0270.55330/data/a.csv"),
        ("http://93.184.216.34/data/", "http://[::ffff:5db8:d822]/data/a.csv"),
        ("http://[2001:db8::a]/data/", "http://[2001:0DB8:0:0::000a]:80/data/a.csv"),
    ],
)
def test_another_spelling_of_an_address_does_not_escape_its_policy(entry: str, url: str) -> None:
    known = Policies((WrittenPolicy(id="p", data=(entry,), raw_code=False),))
    assert known.for_workflow([("did:op:unknown", url)]).names == ("p",)


@pytest.mark.parametrize(
    "url", ["https://data.example.org", "HTTPS://data.example.org:443", "https://data.example.org."]
)
def test_a_folder_above_the_data_does_not_escape_their_policy(url: str) -> None:
    inputs = [{"path": "/in", "url": url, "type": "DIRECTORY"}]
    task = accept({"executors": [{"image": "a", "command": ["x"]}], "inputs": inputs}).task
    assert KNOWN.for_workflow(data_sets(task)).names == ("penguins",)
    assert KNOWN.for_workflow([(url,)]).names == ()  # one file


def test_a_folder_beside_the_data_is_not_under_their_policy() -> None:
    assert KNOWN.for_workflow([("https://data.example.org/peng/",)]).names == ()


def test_without_a_policy_everything_stays_as_it_is() -> None:
    nothing = Policies().for_workflow([("did:op:penguins",)])
    assert nothing == policy.NO_POLICY
    assert (nothing.hold, nothing.checks, nothing.algorithms) == (Hold.NEVER, None, ())


def test_results_that_wait_for_findings_are_checked() -> None:
    assert policy.of_written(WrittenPolicy(id="p", hold=Hold.ON_FINDINGS)).checks == Checks()


def test_oceans_list_of_trusted_algorithms_counts_as_the_policys_own() -> None:
    ocean = AllowedAlgorithm(did="did:op:a", files_checksum=SHA)
    both = WrittenPolicy(id="p", algorithms=(AllowedAlgorithm(sha256=SHA),), publisher_trusted_algorithms=(ocean,))
    assert policy.of_written(both).algorithms == ((ocean, AllowedAlgorithm(sha256=SHA)),)
    assert policy.of_written(WrittenPolicy(id="p", algorithms=())).algorithms == ((),)


def test_the_digest_names_the_content_and_not_the_order() -> None:
    one = WrittenPolicy(id="p", algorithms=(AllowedAlgorithm(sha256="a4" * 32), AllowedAlgorithm(sha256="b5" * 32)))
    turned = msgspec.structs.replace(one, algorithms=one.algorithms[::-1] if one.algorithms else None)
    changed = msgspec.structs.replace(one, custom_data=False)
    digests = [policy.digest(policy.of_written(each)) for each in (one, turned, changed)]
    assert digests[0] == digests[1] != digests[2]
