"""Triggers: which events they select, where these go, and how a delivery is retried."""

from __future__ import annotations

from typing import Any

import pytest

from functions.local.knative_manifests import ManifestError, load, of_kind
from functions.local.triggers import DeliverySpec, Trigger, parse_duration, parse_trigger, retryable

ADDRESSES = {"advance": "http://advance", "submit": "http://submit"}
JOB = {"type": "dev.knative.apiserver.resource.update", "apiversion": "batch/v1", "kind": "Job", "source": "s"}


def made(**spec: Any) -> Trigger:
    manifest = {"metadata": {"name": "t"}, "spec": {"subscriber": {"ref": {"name": "advance"}}, **spec}}
    return parse_trigger(manifest, ADDRESSES)


def test_a_trigger_without_filter_selects_every_event() -> None:
    assert made().selects(JOB)


@pytest.mark.parametrize(
    ("attributes", "selected"),
    [
        ({"kind": "Job"}, True),
        ({"kind": "Job", "apiversion": "batch/v1"}, True),
        ({"kind": "Pod"}, False),
        ({"kind": ""}, True),
        ({"absent": ""}, False),
    ],
)
def test_all_attributes_must_match_and_an_empty_value_only_requires_presence(
    attributes: dict[str, str], selected: bool
) -> None:
    assert made(filter={"attributes": attributes}).selects(JOB) is selected


@pytest.mark.parametrize(
    "spec",
    [
        {"filters": [{"exact": {"type": "x"}}]},
        {"subscriber": {"ref": {"name": "unheard-of"}}},
        {"delivery": {"backoffDelay": "1 second"}},
    ],
)
def test_an_unsupported_trigger_is_refused_with_its_name(spec: dict[str, Any]) -> None:
    with pytest.raises(ManifestError, match=r"Trigger t: .*not supported on a laptop"):
        made(**spec)


def test_a_subscriber_may_have_a_path_or_be_a_url() -> None:
    assert made().subscriber == "http://advance/"
    assert (
        made(subscriber={"ref": {"name": "advance"}, "uri": "/dead-letters"}).subscriber
        == "http://advance/dead-letters"
    )
    assert made(subscriber={"uri": "http://elsewhere/x"}).subscriber == "http://elsewhere/x"


def test_pauses_grow_exponentially_or_linearly() -> None:
    assert [DeliverySpec(delay=0.5).pause(n) for n in (1, 2, 3)] == [0.5, 1, 2]
    assert [DeliverySpec(delay=5, exponential=False).pause(n) for n in (1, 2, 3)] == [5, 10, 15]


def test_durations_are_iso_8601() -> None:
    assert [parse_duration(text) for text in ("PT0.5S", "PT2M", "PT1H1S")] == [0.5, 120, 3601]


def test_the_statuses_that_knative_retries() -> None:
    assert [status for status in range(200, 600) if retryable(status)] == [404, 408, 409, 429, *range(500, 600)]


def test_the_clusters_own_triggers_send_pods_and_ticks_to_advance() -> None:
    triggers = [parse_trigger(item, ADDRESSES) for item in of_kind(load(), "Trigger")]
    pod = {**JOB, "apiversion": "v1", "kind": "Pod"}
    assert {t.subscriber for t in triggers if t.selects(pod)} == {"http://advance/"}
    tick = {"type": "dev.knative.sources.ping", "source": "/apis/v1/namespaces/sluice/pingsources/tick"}
    assert {t.subscriber for t in triggers if t.selects(tick)} == {"http://advance/"}
