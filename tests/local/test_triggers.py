"""Triggers: which events pass, where they go, and how a delivery is tried again."""

from __future__ import annotations

from typing import Any

import pytest

from functions.local.knative_manifests import ManifestError, load, of_kind
from functions.local.triggers import Delivery, Trigger, duration, retryable, trigger

ADDRESSES = {"advance": "http://advance", "submit": "http://submit"}
JOB = {"type": "dev.knative.apiserver.resource.update", "apiversion": "batch/v1", "kind": "Job", "source": "s"}


def made(**spec: Any) -> Trigger:
    manifest = {"metadata": {"name": "t"}, "spec": {"subscriber": {"ref": {"name": "advance"}}, **spec}}
    return trigger(manifest, ADDRESSES)


def filtered(*filters: dict[str, Any]) -> bool:
    return made(filters=list(filters)).passes(JOB)


def test_a_trigger_without_filter_passes_everything() -> None:
    assert made().passes(JOB)


@pytest.mark.parametrize(
    ("attributes", "passes"),
    [
        ({"kind": "Job"}, True),
        ({"kind": "Job", "apiversion": "batch/v1"}, True),
        ({"kind": "Pod"}, False),
        ({"kind": ""}, True),
        ({"absent": ""}, False),
    ],
)
def test_attributes_must_all_be_equal_and_an_empty_value_asks_only_for_presence(
    attributes: dict[str, str], passes: bool
) -> None:
    assert made(filter={"attributes": attributes}).passes(JOB) is passes


def test_exact_prefix_and_suffix_look_at_one_attribute() -> None:
    assert filtered({"exact": {"kind": "Job"}})
    assert not filtered({"exact": {"kind": "Jo"}})
    assert filtered({"prefix": {"type": "dev.knative.apiserver."}})
    assert not filtered({"prefix": {"type": "org."}})
    assert filtered({"suffix": {"type": ".update"}})
    assert not filtered({"suffix": {"absent": "x"}})


def test_any_all_and_not_combine_filters() -> None:
    job, pod = {"exact": {"kind": "Job"}}, {"exact": {"kind": "Pod"}}
    assert filtered({"any": [pod, job]})
    assert not filtered({"all": [pod, job]})
    assert filtered({"not": pod})
    assert not filtered(job, pod)  # a list of filters is a conjunction


def test_filters_take_precedence_over_the_older_filter() -> None:
    both = made(filters=[{"exact": {"kind": "Job"}}], filter={"attributes": {"kind": "Pod"}})
    assert both.passes(JOB)


@pytest.mark.parametrize(
    "spec",
    [
        {"filters": [{"cesql": "type = 'x'"}]},
        {"subscriber": {"ref": {"name": "unheard-of"}}},
        {"delivery": {"backoffDelay": "1 second"}},
    ],
)
def test_what_a_laptop_cannot_do_is_refused_by_name(spec: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match=r"Trigger t: .*not supported on a laptop"):
        made(**spec)


def test_a_subscriber_may_have_a_path_or_be_a_plain_url() -> None:
    assert made().subscriber == "http://advance/"
    assert (
        made(subscriber={"ref": {"name": "advance"}, "uri": "/dead-letters"}).subscriber
        == "http://advance/dead-letters"
    )
    assert made(subscriber={"uri": "http://elsewhere/x"}).subscriber == "http://elsewhere/x"


def test_pauses_double_or_grow_evenly() -> None:
    assert [Delivery(delay=0.5).pause(n) for n in (1, 2, 3)] == [0.5, 1, 2]
    assert [Delivery(delay=5, exponential=False).pause(n) for n in (1, 2, 3)] == [5, 10, 15]


def test_durations_are_iso_8601() -> None:
    assert [duration(text) for text in ("PT0.5S", "PT2M", "PT1H1S")] == [0.5, 120, 3601]


def test_the_statuses_that_knative_tries_again() -> None:
    assert [status for status in range(200, 600) if retryable(status)] == [404, 408, 409, 429, *range(500, 600)]


def test_a_job_that_ends_on_this_machine_reaches_advance_by_the_clusters_own_triggers() -> None:
    triggers = [trigger(item, ADDRESSES) for item in of_kind(load(), "Trigger")]
    assert {t.subscriber for t in triggers if t.passes(JOB)} == {"http://advance/"}
    tick = {"type": "dev.knative.sources.ping", "source": "/apis/v1/namespaces/sluice/pingsources/tick"}
    assert {t.subscriber for t in triggers if t.passes(tick)} == {"http://advance/"}
